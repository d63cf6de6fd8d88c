"""Files that look like secrets stay at home, are named, and travel where git tracks them."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import collected, git, importing, make, names, repository, write

from ray_decorator.project.collect import Project
from ray_decorator.project.files import secrets

SECRETS = """
.env deep/.env .env.local prod.env .envrc secrets.yaml .streamlit/secrets.toml Secrets.JSON .ENV
conf/key.pem server.key SERVER.KEY conf/client.p12 conf/client.pfx trust.jks my.keystore login.ppk pw.kdbx
id_rsa id_rsa.pub id_ed25519 keys/id_ed25519.pub id_ed25519_sk id_ecdsa id_ecdsa_sk.pub id_dsa deploy_rsa
.ssh/config deep/.ssh/known_hosts .gnupg/pubring.kbx .aws/config .aws/sso/cache/token.json .azure/msal.json
.docker/config.json deep/.kube/cache/x .kube/config kubeconfig dev.kubeconfig .config/gcloud/a/b.db .oci/config
credentials.json Credentials.json client_secret_1.json kaggle.json service_account.json service_account_prod.json
service-account.json application_default_credentials.json .huggingface/token .cache/huggingface/token
.git-credentials .netrc _netrc .pypirc .npmrc .pgpass .s3cfg .boto rclone.conf pip.conf .vault-token .my.cnf
terraform.tfstate terraform.tfstate.backup terraform.tfvars .config/gh/hosts.yml .cargo/credentials .bash_history
.env/a.py secrets.py deep/secrets.pyi
secret.toml conf/secret.txt credentials.yaml deep/credentials.yml credentials.toml credentials.ini
token.json token.pickle my-kubeconfig.yaml kubeconfig_dev.yml kubeconfig.yaml .yarnrc.yml .condarc .mambarc pip.ini
credentials.csv me_accessKeys.csv rootkey.csv .modal.toml clearml.conf .config/pypoetry/auth.toml
"""

HARMLESS = """
.env.example prod.env.example .env.sample .env.template secrets.toml.example secrets.example.yaml id_rsa_tools.py
environment.env.py credentials credentials.py kaggle.py service_account.py docker/config.json kube/config
key.py keys.csv huggingface/model.py config/gcloud.yaml secrets/load.py secret.py secret.pyi
aws/config monkey pip.conf.j2
token.py tokens.json tokenizer.json token.txt credentials/a.yaml kubeconfig.py auth.toml condarc.py yarnrc.yml
the.key/a.py a.env/b.py npmrc docs/pem.md history.csv train_history
"""


def of(project: Project, root: Path) -> list[str]:
    return [str(Path(path).relative_to(root)) for path in project.secrets]


def each_in_a_folder(text: str) -> list[str]:
    return [f"n{number:03}/{name}" for number, name in enumerate(text.split())]


@pytest.mark.parametrize("with_git", [False, True])
def test_a_secret_stays_at_home_and_is_named(tmp_path: Path, with_git: bool) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", *each_in_a_folder(SECRETS))
    if with_git:
        git(root, "init", "-q")
    project = collected(root / "train.py")
    assert names(project) == ["0/pyproject.toml", "0/train.py"]
    assert of(project, root) == each_in_a_folder(SECRETS)


def test_a_secret_that_git_tracks_travels(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "pyproject.toml", "train.py", *each_in_a_folder(SECRETS))
    git(root, "add", "-f", ".")
    project = collected(root / "train.py")
    tracked = [f"0/{name}" for name in each_in_a_folder(SECRETS)]
    assert names(project) == [*tracked, "0/pyproject.toml", "0/train.py"]
    assert project.secrets == ()


def test_what_only_looks_like_a_secret_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", *each_in_a_folder(HARMLESS))
    project = collected(root / "train.py")
    assert project.secrets == ()
    assert names(project) == [*(f"0/{name}" for name in each_in_a_folder(HARMLESS)), "0/train.py"]


def test_beside_a_tracked_secret_the_others_stay(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", ".docker/Dockerfile", "a.env")
    git(root, "add", ".")
    make(root, ".docker/config.json", ".docker/build/note", "b.env")
    project = collected(root / "train.py")
    assert names(project) == ["0/.docker/Dockerfile", "0/a.env", "0/train.py"]
    assert of(project, root) == [".docker/build/note", ".docker/config.json", "b.env"]


def test_what_git_ignores_is_none_of_the_secrets(tmp_path: Path) -> None:
    for root in (repository(tmp_path / "git", "train.py"), make(tmp_path / "none", "train.py")):
        make(root, ".env", "keys/a.pem", "b.pem")
        write(root / ".gitignore", ".env", "keys/")
        assert of(collected(root / "train.py"), root) == ["b.pem"]


def test_an_environment_that_is_called_env_is_no_secret(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", ".env/pyvenv.cfg", ".env/lib/site.py")
    project = collected(root / "train.py")
    assert names(project) == ["0/train.py"] and project.secrets == ()


@pytest.mark.parametrize("tracked", [False, True])
def test_a_link_to_a_secret_is_one_whatever_it_is_called(tmp_path: Path, tracked: bool) -> None:
    make(tmp_path / "home", ".aws/credentials", "plain.ini")
    root = repository(tmp_path / "app", "train.py", "conf/.env")
    (root / "aws.ini").symlink_to(tmp_path / "home/.aws/credentials")
    (root / "plain.ini").symlink_to(tmp_path / "home/plain.ini")
    (root / "settings").symlink_to("conf/.env")
    if tracked:
        git(root, "add", "aws.ini", "plain.ini", "settings")
    project = collected(root / "train.py")
    assert names(project) == ["0/plain.ini", "0/train.py"]
    assert of(project, root) == ["aws.ini", "conf/.env", "settings"]


def test_a_secret_in_a_package_that_was_imported_stays(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "ts_pkg/__init__.py", "ts_pkg/key.pem")
    with importing(root, "ts_pkg"):
        project = collected(root / "train.py")
    assert names(project) == ["0/train.py", "0/ts_pkg/__init__.py"]
    assert of(project, root) == ["ts_pkg/key.pem"]


def test_secrets_behind_a_link_that_a_package_was_imported_through_are_named_by_it(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "ts_lib/__init__.py", "ts_lib/.env")
    root = make(tmp_path / "app", "train.py")
    (root / "ts_lib").symlink_to(tmp_path / "elsewhere/ts_lib")
    with importing(root, "ts_lib"):
        project = collected(root / "train.py")
    assert names(project) == ["0/train.py", "0/ts_lib/__init__.py"]
    assert of(project, root) == ["ts_lib/.env"]


def test_names_are_told_without_opening_anything() -> None:
    assert secrets.is_secret("/nowhere/.env", False) and not secrets.is_secret("/nowhere/x.py", False)
    assert secrets.is_secret("/nowhere/.aws", True) and not secrets.is_secret("/nowhere/.aws", False)
    assert secrets.lies_in_secret("/app/.kube/cache/x", "/app")
    assert not secrets.lies_in_secret("/home/.secrets/app/x.py", "/home/.secrets/app")
