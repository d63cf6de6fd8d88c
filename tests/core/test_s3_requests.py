"""How requests to S3 are sent travels with where the store is."""

from __future__ import annotations

import pickle
from dataclasses import replace

from ray_decorator.core.s3_requests import S3Clients, S3Requests
from ray_decorator.core.values.stores import Location


def test_it_travels_and_counts() -> None:
    place = Location("s3://bucket", requests=S3Requests(verify=False, encryption="AES256", threads=3))
    assert place != replace(place, clients=S3Clients(s3=(("addressing_style", "virtual"),)))
    assert pickle.loads(pickle.dumps(place)) == place
    assert place != Location("s3://bucket")
