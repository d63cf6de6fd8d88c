"""Files that hold secrets, told by their names: no file is opened.

The list is gitrob's (github.com/michenriksen/gitrob, MIT licence, ``core/signatures.go`` at 0814be0), without what is
data or code more often than a secret (``*.sql``, ``*.log``, ``settings.py``, ``database.yml``), and with the files in
which the tools of machine learning and of clouds keep their logins.
"""

from __future__ import annotations

import os
import re

_PATTERNS = (
    # variables
    *(".env", ".env/", ".env.*", "*.env", ".envrc", ".envrc.*", "secret.*", "secrets.*"),
    # keys and what holds them
    *(
        "*.pem",
        "*.key",
        "*.p12",
        "*.pkcs12",
        "*.pfx",
        "*.jks",
        "*.keystore",
        "*.ppk",
        "*.keyring",
        "*.keychain",
    ),
    *("*.agilekeychain", "*.kwallet", "*.kdb", "*.kdbx", "*.psafe3", "*.ovpn", "otr.private_key", ".gnupg/"),
    *(".password-store/", ".secrets/", ".vault-token"),
    # ssh
    *(".ssh/", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa", "*_dsa", "*_ecdsa", "*_ed25519"),
    *("sftp-config.json",),
    # clouds and clusters
    *(
        ".aws/",
        ".azure/",
        ".oci/",
        ".config/gcloud/",
        ".docker/",
        ".dockercfg",
        ".dockerconfigjson",
        ".kube/",
    ),
    *("kubeconfig", "*.kubeconfig", "*kubeconfig*.yaml", "*kubeconfig*.yml", "client_secret*.json"),
    *("credentials.json", "credentials.xml", "credentials.yaml", "credentials.yml", "credentials.toml"),
    *("credentials.ini", "credentials.csv", "*accesskeys.csv", "rootkey.csv", "token.json", "token.pickle"),
    *(
        "application_default_credentials.json",
        "service_account*.json",
        "service-account*.json",
        ".s3cfg",
        ".boto",
    ),
    *("rclone.conf", "doctl/config.yaml", ".databrickscfg", "*.tfstate", "*.tfstate.*", "terraform.tfvars"),
    *("*.auto.tfvars", ".terraformrc"),
    # hubs of models, data and packages
    *("kaggle.json", ".huggingface/", "huggingface/token", "huggingface/stored_tokens", ".comet.config"),
    *(".modal.toml", "clearml.conf", "pypoetry/auth.toml", ".yarnrc.yml", ".condarc", ".mambarc", "pip.ini"),
    *(".pypirc", "pip.conf", ".npmrc", ".gem/credentials", ".cargo/credentials", ".cargo/credentials.toml"),
    # git's, databases', and those of other programs
    *(
        ".git-credentials",
        ".config/hub",
        ".config/gh/",
        ".netrc",
        "_netrc",
        ".pgpass",
        ".my.cnf",
        ".mylogin.cnf",
    ),
    *(".htpasswd", "proftpdpasswd", "robomongo.json", ".dbeaver-data-sources.xml", "filezilla.xml"),
    *("recentservers.xml", ".muttrc", ".*_history"),
)
"""Names of files, and of folders with a slash after them, at any depth and in any case; ``*`` ends at a slash."""

_HARMLESS = (
    *("*.example", "*.sample", "*.template"),
    *("secret.example.*", "secret.sample.*", "secrets.example.*", "secrets.sample.*"),
)
"""What one of the above matches, and is none."""


def is_secret(path: str, is_folder: bool) -> bool:
    """Whether a file of this name, or all that is in a folder of this name, is kept at home."""
    name = _last_two(path) + ("/" if is_folder else "")
    return _SECRET.search(name) is not None and not (_HARMLESS_NAME.search(name) or _SOURCE.search(name))


def lies_in_secret(path: str, root: str) -> bool:
    """Whether a file is a secret, or a folder is that it is in, below ``root``."""
    if is_secret(path, False):
        return True
    folder = os.path.dirname(path)
    while folder != root and folder != os.path.dirname(folder):
        if is_secret(folder, True):
            return True
        folder = os.path.dirname(folder)
    return False


def _last_two(path: str) -> str:
    return "/" + "/".join(path.rsplit("/", 2)[-2:]).lower()


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    lines = (re.escape(pattern).replace(r"\*", "[^/]*") for pattern in patterns)
    return re.compile(f"/(?:{'|'.join(lines)})\\Z")


_SOURCE = re.compile(r"/(?!secrets\.)[^/]*\.py[ix]?\Z")  # secrets.py is where many keep theirs
_SECRET, _HARMLESS_NAME = _any_of(_PATTERNS), _any_of(_HARMLESS)
