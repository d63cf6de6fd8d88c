"""What a store's own exceptions are told as."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from ray_decorator.core.errors import BucketNotFoundError, StoreDeniedError, StoreError, StoreUnreachableError
from ray_decorator.store.transport.faults import Faults, code_of, first_line

S3 = "s3://bucket/x at http://127.0.0.1:9"


def said(error: Exception, place: str = S3, lapsed: str | None = None) -> StoreError:
    with pytest.raises(StoreError) as info, Faults(place, "eu-west-1", lambda: lapsed).translated("a/b"):
        raise error
    assert info.value.__cause__ is error
    return info.value


def coded(code: str) -> GenericError:
    return GenericError(f"Generic S3 error: 400: <Error><Code>{code}</Code></Error>\nmore")


def test_a_code_is_told_as_its_own_kind() -> None:
    assert type(said(coded("NoSuchBucket"))) is BucketNotFoundError
    assert type(said(coded("SignatureDoesNotMatch"))) is StoreDeniedError
    assert type(said(GenericError("kind: Connect, refused"))) is StoreUnreachableError
    assert "another region than eu-west-1: set AWS_REGION" in str(said(coded("PermanentRedirect")))
    for text in ("Received redirect without LOCATION", "Server returned non-2xx status code: 301 Moved"):
        assert "set AWS_REGION to the bucket's; or its server has moved: set AWS_ENDPOINT_URL" in str(
            said(GenericError(text))
        )
    misnamed = said(coded("InvalidBucketName"))
    assert type(misnamed) is StoreError and "no bucket can have" in str(misnamed)
    below = GenericError("status 400: <?xml version='1.0'?>\n<Error><Code>EntityTooLarge</Code></Error>")
    assert str(said(below)).endswith("status 400: <?xml version='1.0'?> (EntityTooLarge)")
    assert str(said(GenericError("odd\nmore"))) == f"{S3} failed at a/b: odd"


def test_what_is_not_allowed_says_what_to_change() -> None:
    denied = PermissionDeniedError("<Error><Code>AccessDenied</Code></Error>")
    assert "does not allow this for a/b (AccessDenied): the credentials need s3:GetObject" in str(
        said(denied)
    )
    assert "(AccessDenied): they ended at noon. Log in again" in str(
        said(denied, lapsed="they ended at noon")
    )
    local = said(PermissionError(13, "Permission denied"), "file:///data")
    assert "file:///data may not be used" in str(local) and "check the directory's permissions" in str(local)


def test_what_is_translated_already_stays_as_it_is() -> None:
    ours = StoreError("ours")
    with pytest.raises(StoreError) as info, Faults(S3, None, lambda: None).translated(""):
        raise ours
    assert info.value is ours


def test_the_parts_of_obstores_message() -> None:
    assert (code_of(coded("SlowDown")), code_of(ValueError("none"))) == ("SlowDown", None)
    assert first_line(ValueError("one\ntwo")) == "one"
