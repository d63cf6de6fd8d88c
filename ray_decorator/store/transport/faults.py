"""The one place where a store's foreign exceptions become ours, with what to do about them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from ...content.manifest import digest_of_key
from ...core.errors import (
    BucketNotFoundError,
    CorruptObjectError,
    MissingObjectError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)

_CODE = re.compile(r"<Code>(\w+)</Code>")
_REFUSED = re.compile(r"status code: (3\d\d|4(?!29)\d\d)")
_REPLACED = re.compile(r"InvalidRange|status: 41[26]\b|Wanted range starting at|Precondition")
_REDIRECT = re.compile(r"[Rr]edirect|status code: 3\d\d")
_UNKNOWN_IDENTITY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect"}


class Faults:
    """What a store's own exceptions mean. ``place`` is the store as a user knows it.

    ``lapsed`` tells why the credentials do not hold any more, None where they do.
    """

    def __init__(self, place: str, region: str | None, lapsed: Callable[[], str | None]) -> None:
        self._place, self._region, self._lapsed = place, region, lapsed

    @contextlib.contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Raise StoreError and its kin for whatever goes wrong with the object ``key`` in this block."""
        try:
            yield
        except StoreError:
            raise
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as exc:
            raise StoreDeniedError(self._denied(key, exc)) from exc
        except (BaseError, OSError) as exc:
            raise self._failed(key, exc) from exc

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """As `translated`, for an object that was there just now.

        Raises MissingObjectError where it is gone, CorruptObjectError where another one, which is shorter, has its
        place.
        """
        with self.translated(key):
            try:
                yield
            except (BaseError, OSError) as exc:
                if code_of(exc) == "NoSuchBucket":
                    raise
                # obstore itself asks for the rest of what was cut, and wraps the answer
                if isinstance(exc, FileNotFoundError) or "source: NotFound {" in str(exc):
                    raise MissingObjectError((digest_of_key(key),), self._place) from exc
                if _REPLACED.search(str(exc)):
                    raise self.replaced(key) from exc
                raise

    def replaced(self, key: str) -> CorruptObjectError:
        """The error for an object that another one has the place of since its reading began."""
        text = f"the object {key} of {self._place} was replaced while it was read."
        return CorruptObjectError(f"{text} Run again to upload it anew.", (digest_of_key(key),))

    def _denied(self, key: str, exc: Exception) -> str:
        if self._place.startswith("file://"):
            return f"{self._place} may not be used ({first_line(exc)}): check the directory's permissions"
        code = code_of(exc) or "denied"
        if lapsed := self._lapsed():
            return (
                f"{self._place} does not accept the credentials ({code}): {lapsed}. Log in again (aws sso "
                "login, or what you use for it), and run again"
            )
        if code in _UNKNOWN_IDENTITY:
            return (
                f"{self._place} does not accept the credentials ({code}): check AWS_PROFILE, "
                "AWS_ACCESS_KEY_ID and ~/.aws, or log in again (aws sso login)"
            )
        return (
            f"{self._place} does not allow this for {key} ({code}): the credentials need s3:GetObject, "
            "s3:PutObject and s3:ListBucket there"
        )

    def _failed(self, key: str, exc: Exception) -> StoreError:
        text = str(exc)
        if code_of(exc) == "NoSuchBucket":
            return BucketNotFoundError(
                f"the bucket of {self._place} does not exist: create it, or correct s3_base_path"
            )
        if code_of(exc) == "InvalidBucketName":
            return StoreError(
                f"the bucket of {self._place} has a name that no bucket can have (InvalidBucketName): correct "
                "s3_base_path"
            )
        if "kind: Connect" in text or "kind: Timeout" in text:
            return StoreUnreachableError(
                f"nobody answers for {self._place} ({first_line(exc)}): check AWS_ENDPOINT_URL, and that "
                "the server runs and can be reached from this machine"
            )
        if code_of(exc) in {*_UNKNOWN_IDENTITY, "AccessDenied"} or self._lapsed():
            # of a listing, obstore tells no more than the code; of a HEAD, not even that
            return StoreDeniedError(self._denied(key, exc))
        if code_of(exc) in _WRONG_REGION or _REDIRECT.search(text):
            elsewhere = (
                f"{self._place} is in another region than {self._region}: set AWS_REGION to the bucket's"
            )
            if code_of(exc) in _WRONG_REGION:
                return StoreError(elsewhere)
            return StoreError(
                f"{elsewhere}; or its server has moved: set AWS_ENDPOINT_URL to where "
                "it redirects to (https:// in place of http://, often)"
            )
        return StoreError(f"{self._place} failed at {key or 'opening'}: {_said(exc)}")


def code_of(exc: Exception) -> str | None:
    """The code of S3's error that obstore's exception quotes."""
    match = _CODE.search(str(exc))
    return match[1] if match else None


def is_not_of_s3(exc: Exception) -> bool:
    """Whether an answer to a GET refuses it without a code of S3's, as web pages and proxies do."""
    return code_of(exc) is None and _REFUSED.search(str(exc)) is not None


def _said(exc: Exception) -> str:
    """The first line of obstore's message, and the code of S3's error that some servers write below it."""
    line, code = first_line(exc), code_of(exc)
    return line if code is None or code in line else f"{line} ({code})"


def first_line(exc: Exception) -> str:
    """The part of obstore's message that a user can read."""
    return str(exc).partition("\n")[0]
