# ruff: noqa: D103
"""Lengths, on both sides of every limit."""

import pytest

from stagedoor.model.access import Protocol
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.token import TokenTerms
from stagedoor.tokens.carriers import HEX_LENGTH, SHORT_LENGTH, Carrier, carriers, check_fits, longest_name
from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.opaque import new_token, parse_opaque

NAME = "cam"
TEXTS = {
    Carrier.RTMP: (255, f"{NAME}?token="),
    Carrier.SRT: (512, f"#!::m=publish,r={NAME},t="),
    Carrier.CAMERA: (128, f"{NAME}?token="),
    Carrier.HTTP_HEADER: (8192, "Bearer "),
    Carrier.URL: (2048, f"{NAME}?token="),
}
"""What stands before a token, and how long the whole may be."""


@pytest.mark.parametrize("carrier", Carrier)
def test_a_token_fits_up_to_the_last_character(carrier: Carrier) -> None:
    limit, before = TEXTS[carrier]
    room = limit - len(before)
    assert carrier in carriers(room, len(NAME))
    assert carrier not in carriers(room + 1, len(NAME))


def test_the_longest_name_is_that_of_any_stream_that_may_be_named() -> None:
    def longest(*streams: StreamPattern, groups: tuple[str, ...] = ()) -> int:
        return longest_name(TokenTerms(label="a label", streams=streams, groups=groups))

    assert longest() == 0
    assert longest(StreamPattern("cam"), StreamPattern("studio")) == 6
    # A pattern may match any name, and a group be given any.
    assert longest(StreamPattern("cam"), StreamPattern("c.*", True)) == 128
    assert longest(StreamPattern("cam"), groups=("hall",)) == 128


def test_the_other_form_of_a_stream_id_is_no_longer() -> None:
    assert len(f"{NAME}?t=") <= len(TEXTS[Carrier.SRT][1])


def test_opaque_tokens_have_the_lengths_that_are_told() -> None:
    text = new_token().reveal()
    value = parse_opaque(text)
    assert value is not None
    assert (len(text), len(base64url(value))) == (HEX_LENGTH, SHORT_LENGTH)


def test_a_camera_takes_the_short_form_where_it_does_not_take_the_long_one() -> None:
    assert Carrier.CAMERA in carriers(SHORT_LENGTH, 60)
    assert Carrier.CAMERA not in carriers(HEX_LENGTH, 60)


@pytest.mark.parametrize(
    ("protocol", "room"), [(Protocol.RTMP, 245), (Protocol.SRT, 490), (Protocol.HLS, 2038), (Protocol.WEBRTC, 8185)]
)
def test_a_protocol_without_room_is_named_and_the_short_form_offered(protocol: Protocol, room: int) -> None:
    check_fits([protocol], room, len(NAME))
    with pytest.raises(InvalidInput, match=rf"{protocol} has room for {room} .* \(43 characters of base64url\)"):
        check_fits([Protocol.WEBRTC, protocol], room + 1, len(NAME))
