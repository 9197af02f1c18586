# ruff: noqa: D103
"""The commands of the Token API's guide, as they are printed there, run by sh with the real curl against a real authority.

Three things are replaced, as the guide tells its reader to: the host, the secret, and the id of a token to delete.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from tests.certificates import make_certificates
from tests.https import HttpsSystem

THE_HOST: Final = "api.millicast.com"
THE_SECRET: Final = "YOUR_API_SECRET"
THE_ID: Final = "Your_Token_ID"

THREE_STREAMS: Final = """\
curl --request POST \\
     --url https://api.millicast.com/api/publish_token \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET' \\
     --header 'content-type: application/json' \\
     --data '
{
  "streams": [
    {
      "streamName": "MainCam",
      "isRegex": false
    },
    {
      "streamName": "BackupCam",
      "isRegex": false
    },
    {
      "streamName": "StageCam",
      "isRegex": false
    }
  ],
  "label": "DevTestToken",
  "expires": 2592000
}
'
"""
ANY_STREAM_FROM_TWO_COUNTRIES: Final = """\
curl --request POST \\
     --url https://api.millicast.com/api/publish_token \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET' \\
     --header 'content-type: application/json' \\
     --data '
{
  "streams": [
    {
      "streamName": ".*",
      "isRegex": true
    }
  ],
  "allowedCountries": [
    "PL",
    "ZA"
  ],
  "label": "DevTestToken",
  "expires": 2628000
}
'
"""
LIST_PUBLISH: Final = """\
curl --request GET \\
     --url 'https://api.millicast.com/api/publish_token/list?sortBy=AddedOn&page=1&itemsOnPage=30&isDescending=true' \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET'
"""
DELETE_PUBLISH: Final = """\
curl --request DELETE \\
     --url https://api.millicast.com/api/publish_token/Your_Token_ID \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET'
"""
SUBSCRIBE: Final = """\
curl --request POST \\
     --url https://api.millicast.com/api/subscribe_token \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET' \\
     --header 'content-type: application/json' \\
     --data '
{
  "streams": [
    {
      "streamName": "StageCamera"
    }
  ],
  "label": "DevTestToken",
  "expires": 2628000
}
'
"""
SUBSCRIBE_BOUND: Final = """\
curl --request POST \\
     --url https://api.millicast.com/api/subscribe_token \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET' \\
     --header 'content-type: application/json' \\
     --data '
{
  "streams": [
    {
      "streamName": ".*",
      "isRegex": true
    }
  ],
  "label": "DevTestToken",
  "bindIpsOnUsage": 1,
  "expires": 2628000
}
'
"""
SUBSCRIBE_TRACKED: Final = """\
curl --request POST \\
     --url https://api.millicast.com/api/subscribe_token \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET' \\
     --header 'content-type: application/json' \\
     --data '
{
  "streams": [
    {
      "streamName": "StageCam"
    }
  ],
  "tracking": {
    "trackingId": "Tracking_ID_1"
  },
  "label": "DevTestToken"
}
'
"""
CONSUMED: Final = """\
curl --request GET \\
     --url 'https://api.millicast.com/api/analytics/tracking/total?trackingIds=Tracking_ID_1&startDate=2023-02-02&stopDate=2023-07-27' \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET'
"""
LIST_SUBSCRIBE: Final = """\
curl --request GET \\
     --url 'https://api.millicast.com/api/subscribe_token/list?sortBy=AddedOn&page=1&itemsOnPage=30&isDescending=true' \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET'
"""
DELETE_SUBSCRIBE: Final = """\
curl --request DELETE \\
     --url https://api.millicast.com/api/subscribe_token/Your_Token_ID \\
     --header 'accept: application/json' \\
     --header 'authorization: Bearer YOUR_API_SECRET'
"""


class Reader:
    """Who follows the guide: with a secret of their own, in a shell."""

    def __init__(self, system: HttpsSystem) -> None:
        self._system = system
        self.secret = system.secret
        self.api = system.client()

    def answer(self, command: str, token_id: int | None = None) -> Any:
        """Run a command with what is to be replaced in it, and return the JSON that it prints."""
        assert shutil.which("curl"), "curl is missing; make test installs it"
        host = httpx.URL(self._system.url).netloc.decode()
        replaced = command.replace(THE_HOST, host).replace(THE_SECRET, self.secret)
        assert (THE_ID in replaced) == (token_id is not None)
        if token_id is not None:
            replaced = replaced.replace(THE_ID, str(token_id))
        # Whom curl trusts, in the environment: the command itself stays as it is.
        environment = {**os.environ, "CURL_CA_BUNDLE": str(self._system.certificates.authority)}
        ran = subprocess.run(["sh", "-c", replaced], capture_output=True, text=True, timeout=60, env=environment)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def data(self, command: str, token_id: int | None = None) -> Any:
        """Return the data of a command that succeeds."""
        answer = self.answer(command, token_id)
        assert (answer["status"], set(answer)) == ("success", {"status", "data"}), answer
        return answer["data"]

    def read(self, kind: str, token_id: int) -> Any:
        """Return a token as it is read afterwards; None when there is none."""
        answer = self.api.get(f"/api/{kind}_token/{token_id}")
        return answer.json()["data"] if answer.status_code == 200 else None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("guide")
    system = HttpsSystem(folder, make_certificates(folder / "certificates"))
    with system.serving():
        reader = Reader(system)
        yield reader
        reader.api.close()


def good_for(token: dict[str, Any]) -> timedelta:
    """Return how long a token is good for, which was made just now."""
    expires, added = (datetime.fromisoformat(token[name]) for name in ("expiresOn", "addedOn"))
    assert abs(added - datetime.now(UTC)) < timedelta(minutes=2)
    return expires - added


def exactly(*names: str) -> list[dict[str, Any]]:
    return [{"streamName": name, "isRegex": False} for name in names]


ANY_NAME: Final = [{"streamName": ".*", "isRegex": True}]


def test_a_publish_token_for_three_streams_is_valid_for_30_days(reader: Reader) -> None:
    token = reader.data(THREE_STREAMS)
    assert token["label"] == "DevTestToken"
    assert token["streams"] == exactly("MainCam", "BackupCam", "StageCam")
    assert good_for(token) == timedelta(days=30)
    assert token["isActive"]
    assert reader.read("publish", token["id"]) == token


def test_a_publish_token_for_any_stream_is_limited_to_poland_and_south_africa(reader: Reader) -> None:
    token = reader.data(ANY_STREAM_FROM_TWO_COUNTRIES)
    assert token["streams"] == ANY_NAME
    assert token["allowedCountries"] == ["PL", "ZA"]
    assert token["effectiveSettings"]["allowedCountries"] == ["PL", "ZA"]
    assert token["deniedCountries"] == []
    assert good_for(token) == timedelta(seconds=2628000)
    assert reader.read("publish", token["id"]) == token


@pytest.mark.parametrize(
    ("kind", "create", "list_", "delete"),
    [
        ("publish", THREE_STREAMS, LIST_PUBLISH, DELETE_PUBLISH),
        ("subscribe", SUBSCRIBE, LIST_SUBSCRIBE, DELETE_SUBSCRIBE),
    ],
)
def test_the_most_recent_30_are_listed_and_one_is_picked_and_deleted(
    reader: Reader, kind: str, create: str, list_: str, delete: str
) -> None:
    older = []
    for number in range(31):
        body = {"label": f"{number}", "streams": [{"streamName": "x"}]}
        older.append(reader.api.post(f"/api/{kind}_token", json=body).json()["data"]["id"])
    newest = reader.data(create)
    listed = reader.data(list_)
    assert [token["id"] for token in listed] == [newest["id"], *older[:1:-1]]
    assert listed[0] == newest
    picked = listed[7]["id"]
    assert reader.read(kind, picked) == listed[7]
    assert reader.data(delete, picked) is True
    assert reader.read(kind, picked) is None
    left = [token["id"] for token in reader.data(list_)]
    assert left == [newest["id"], *(each for each in older[:0:-1] if each != picked)]
    again = reader.answer(delete, picked)
    assert again["status"] == "fail"
    assert str(picked) in again["data"]["message"]


def test_a_subscribe_token_for_a_stream(reader: Reader) -> None:
    token = reader.data(SUBSCRIBE)
    assert token["streams"] == exactly("StageCamera")
    assert good_for(token) == timedelta(seconds=2628000)
    assert reader.read("subscribe", token["id"]) == token


def test_a_subscribe_token_is_bound_to_the_first_address_that_connects(reader: Reader) -> None:
    token = reader.data(SUBSCRIBE_BOUND)
    assert token["streams"] == ANY_NAME
    assert token["bindIpsOnUsage"] == 1
    assert reader.read("subscribe", token["id"])["bindIpsOnUsage"] == 1


def test_a_subscribe_token_that_is_tracked_and_what_was_consumed_with_it(reader: Reader) -> None:
    token = reader.data(SUBSCRIBE_TRACKED)
    assert token["streams"] == exactly("StageCam")
    assert token["tracking"] == {"trackingId": "Tracking_ID_1"}
    assert "expiresOn" not in token
    assert reader.read("subscribe", token["id"])["tracking"] == {"trackingId": "Tracking_ID_1"}
    assert reader.data(CONSUMED) == {"Tracking_ID_1": []}


def test_without_a_valid_secret_calls_are_rejected_with_unauthorized(reader: Reader) -> None:
    reader.secret, right = "sds_" + "A" * 49, reader.secret
    try:
        for command in (THREE_STREAMS, LIST_PUBLISH, SUBSCRIBE, CONSUMED):
            assert reader.answer(command) == {"status": "fail", "data": {"message": "Unauthorized"}}
    finally:
        reader.secret = right
