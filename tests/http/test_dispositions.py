"""Names of files and fields, in every form that clients send them in `Content-Disposition`."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.files.actions import MAX_FILENAME_LENGTH, clean_filename
from service.http.dispositions import decode_words, parameters_of, read_disposition

NAME = "Auskünfte.csv"

FILENAMES = [
    ("filename*=utf-8''Ausk%C3%BCnfte.csv", NAME),  # requests
    ("filename*=UTF-8'de'Ausk%C3%BCnfte.csv", NAME),
    ("filename*=iso-8859-1''Ausk%FCnfte.csv", NAME),
    ("filename*=windows-1252'de-AT'Ausk%fcnfte.csv", NAME),
    ('filename="=?utf-8?B?QXVza8O8bmZ0ZS5jc3Y=?="', NAME),  # .NET
    ('filename="=?utf-8?B?QXVza8O8bmZ0ZS5jc3Y?="', NAME),  # without padding
    ('filename="=?UTF-8?q?Ausk=C3=BCnfte.csv?="', NAME),
    ('filename="=?iso-8859-1?Q?Ausk=FCnfte.csv?="', NAME),
    ('filename="=?utf-8*de?Q?Ausk=C3=BCnfte.csv?="', NAME),
    ('filename="=?utf-8?Q?Ausk=C3?= =?utf-8?B?vG5mdGUuY3N2?="', NAME),  # a character in two words
    ('filename="2026 =?utf-8?Q?Ausk=C3=BC?=\t=?utf-8?Q?nfte_Wien.csv?="', "2026 Auskünfte Wien.csv"),
    ("filename==?utf-8?B?QXVza8O8bmZ0ZS5jc3Y=?=", NAME),
    ("filename=\"a.csv\"; filename*=utf-8''Ausk%C3%BCnfte.csv", NAME),
    ("filename*=utf-8''Ausk%C3%BCnfte.csv; filename=\"a.csv\"", NAME),
    ('filename="Auskünfte.csv"', NAME),  # raw UTF-8: curl, browsers
    ("filename=Auskünfte.csv", NAME),
    ('filename="Ausk%C3%BCnfte.csv"', NAME),  # aiohttp
    ('filename="Ausk%c3%bcnfte 50%.csv"', "Ausk%c3%bcnfte 50%.csv"),  # not encoded as a whole
    ('filename="Ausk%FCnfte.csv"', "Ausk%FCnfte.csv"),
    ('filename="Ausk%22unft%22.csv"', 'Ausk"unft".csv'),  # browsers
    ('filename="50%25 off %41.csv"', "50%25 off %41.csv"),  # browsers escape nothing else
    (r'filename="Ausk\"unft\".csv"', 'Ausk"unft".csv'),
    (r'filename="C:\dir\name.csv"', r"C:\dir\name.csv"),
    ('filename="my "best" rows.csv"; size=5', 'my "best" rows.csv'),  # quotes that nobody escaped
    ('filename="a;b=c.csv"', "a;b=c.csv"),
    ("filename*0*=utf-8''Ausk%C3; filename*1*=%BCnfte; filename*2=.csv", NAME),  # RFC 2231
    ('filename*1=".csv"; filename*0="Auskunft"', "Auskunft.csv"),
    ('filename="unfinished.csv', "unfinished.csv"),
]

UNDECODABLE = [
    ("filename*=x-made-up''Ausk%FCnfte.csv", NAME),
    ("filename*=unicode_escape''a%5Cu0041.csv", r"a\u0041.csv"),
    ("filename*=utf-8''Ausk%FCnfte.csv", NAME),
    ("filename*=utf-8''Ausk%FCnfte.csv; filename=\"plain.csv\"", "plain.csv"),
    ("filename*=Ausk%C3%BCnfte.csv", NAME),
    ("filename*=\"utf-8''Ausk%C3%BCnfte.csv\"", NAME),
    ('filename="=?x-made-up?Q?Ausk=FCnfte.csv?="', NAME),
    ('filename="=?utf-8?B?!!!!?="', "=?utf-8?B?!!!!?="),
    ('filename="=?utf-8?B?A?="', "=?utf-8?B?A?="),
    ("filename*0*=utf-8''a; filename*1*=%2541.csv", "a%41.csv"),
    ("filename*=; filename=a.csv", "a.csv"),
]


def read(parameters: str) -> tuple[str, str | None]:
    """What a header with these parameters says, whose bytes are UTF-8."""
    return read_disposition(f'form-data; name="file"; {parameters}'.encode().decode("latin-1"))


class TestFilename:
    @pytest.mark.parametrize(("parameters", "filename"), FILENAMES)
    def test_as_clients_send_it(self, parameters: str, filename: str) -> None:
        assert read(parameters) == ("file", filename)

    @pytest.mark.parametrize(("parameters", "filename"), UNDECODABLE)
    def test_that_cannot_be_decoded_as_declared_stays_readable(self, parameters: str, filename: str) -> None:
        assert read(parameters) == ("file", filename)

    def test_raw_latin_1(self) -> None:
        assert read_disposition('form-data; name="file"; filename="Ausk\xfcnfte.csv"') == ("file", NAME)

    def test_none(self) -> None:
        assert read_disposition("form-data") == ("", None)
        assert read_disposition('form-data;name=purpose;filename=""') == ("purpose", "")

    def test_a_field_s_name_is_read_alike(self) -> None:
        assert read_disposition("form-data; name*=utf-8''gr%C3%B6%C3%9Fe").name == "größe"


SIGNS = "*='\";\\%/ \t\r\n\0ü\xff"
PIECES = st.sampled_from(
    [*SIGNS, "filename", "name", "%C3", "%BC", "=?", "?=", "utf-8", "?B?", "?Q?", "*0", "*1*", "C:", ".csv"]
)
NAMES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=60)


class TestAnyText:
    @given(st.lists(PIECES, max_size=20).map("".join))
    def test_a_header_of_any_form_is_read(self, parameters: str) -> None:
        cleaned = clean_filename(read(parameters)[1])
        assert 1 <= len(cleaned) <= MAX_FILENAME_LENGTH
        assert cleaned.isprintable()
        assert "/" not in cleaned

    @given(NAMES)
    def test_every_name_comes_back_from_what_clients_make_of_it(self, name: str) -> None:
        words = base64.b64encode(name.encode()).decode()
        assert read(f"filename*=UTF-8''{quote(name, safe='')}") == ("file", name)
        assert read(f'filename="=?utf-8?B?{words}?="') == ("file", name)
        assert read(f'filename="{quote(name, safe="")}"') == ("file", name)


class TestCleaned:
    @pytest.mark.parametrize(
        ("given", "cleaned"),
        [
            (r"C:\Users\me\a.csv", "a.csv"),
            ("../../etc/a.csv", "a.csv"),
            ("dir/a.csv/", "a.csv"),
            ("a\r\nb\0\u202e.csv", "ab.csv"),
            ("=?utf-8?B?QXVza8O8bmZ0ZS5jc3Y=?=", NAME),
            ('"a.csv"', "a.csv"),
            ('"', "file"),
            ("", "file"),
            (None, "file"),
            ("\n", "file"),
        ],
    )
    def test_names(self, given: str | None, cleaned: str) -> None:
        assert clean_filename(given) == cleaned

    def test_a_long_name_has_its_suffix_still_since_the_suffix_decides_the_reader(self) -> None:
        cleaned = clean_filename("ü" * 400 + ".csv.gz")
        assert len(cleaned) == MAX_FILENAME_LENGTH
        assert cleaned.endswith("ü.csv.gz")

    def test_a_long_suffix_is_cut(self) -> None:
        assert len(clean_filename("a." + "b" * 400)) == MAX_FILENAME_LENGTH


def test_parameters() -> None:
    parameters = parameters_of('multipart/form-data; Boundary=----=_Part/1:2; charset="utf-8" ;x=')
    assert parameters == {"boundary": "----=_Part/1:2", "charset": "utf-8", "x": ""}


def test_text_without_encoded_words_is_unchanged() -> None:
    for text in ("plain.csv", "=?no?=", "a =?utf-8?X?abc?= b", "=?" * 2_000):
        assert decode_words(text) == text
