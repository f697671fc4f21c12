"""Files that look like something they are not, and a check that must not say that all is well."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from airflow_elt_provider.connectors.files.guessing import MOST_READ, guess_path
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_check import check
from airflow_elt_provider.formats.guess_report import Call
from airflow_elt_provider.formats.guess_sample import Sample
from airflow_elt_provider.stages.local import LocalStage


def of(text, name="x.csv"):
    return guess(Sample.of_bytes(text if isinstance(text, bytes) else text.encode()), name)


def held(tmp_path, text, name="x.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = of(text, name)
    return found, check(tmp_path / name, found)


# --- comments ---


@pytest.mark.parametrize(
    ("head", "row", "rows"),
    [
        ("order,amt", "#{n},{n}", 50),
        ("order,amt", "{sign}{n},{n}", 100),
        ("# export\norder,amt", "{sign}{n},{n}", 100),
        ("order", "{sign}{n}", 100),
        ("# export\norder", "{sign}{n}", 100),
        ("a,b,c", "#{n},'x','y, z'", 60),
    ],
)
def test_rows_that_begin_with_the_sign_are_rows(tmp_path, head, row, rows):
    body = [row.format(n=n, sign="#" if n % 10 == 3 else "") for n in range(rows)]
    found, done = held(tmp_path, "\n".join([head, *body]) + "\n")
    assert not found.form.comment
    assert found.form.header
    assert found.form.skip_lines == head.count("\n")
    assert done.rows == rows


def test_a_row_like_a_comment_where_only_another_piece_of_the_sample_looks(tmp_path):
    body = [f"{n},{n}" for n in range(90_000)]
    body[-5] = "#5,5"
    found, done = held(tmp_path, "\n".join(["# export", "id,v", *body]) + "\n")
    assert not found.form.comment
    assert found.form.skip_lines == 1
    assert (done.rows, done.misfits) == (90_000, 0)


def test_what_comments_leave_out_is_counted_and_shown_where_it_is_as_wide_as_a_row(tmp_path):
    body = [f"{n},{n}" for n in range(90_000)]
    body[28_000] = "#5,5"  # where no sample looks
    body[28_002] = "# a remark"
    found, done = held(tmp_path, "\n".join(["# export", "# a, b", "# of 2026", "id,v", *body]) + "\n")
    assert found.form.comment == "#"
    assert (done.rows, done.misfits, done.comments) == (89_999, 1, 5)
    assert [(one.line, one.value) for one in done.shown] == [(28_005, "#5,5")]
    assert "is left out as a comment" in str(done)
    assert "5 lines are left out as comments" in str(done)
    assert done.to_json()["comments"] == 5


@pytest.mark.parametrize("head", ["#CHROM,POS", "##fileformat=4\n##source=x\n#CHROM,POS"])
def test_the_last_line_with_the_sign_may_be_the_header(tmp_path, head):
    found, done = held(tmp_path, head + "\na,1\nb,2\n")
    assert [one.name for one in found.columns] == ["#CHROM", "POS"]
    assert (done.rows, done.misfits) == (2, 0)


# --- JSON that is no JSON lines ---


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', "is a JSON array"),
        ('[{"a": 1, "b": 2},\n{"a": 3, "b": 4}]\n', "is a JSON array"),
        ('[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]\n', "is a JSON array"),
        ("[1, 2, 3]", "is a JSON array"),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "is JSON over several lines"),
        ('[{"a": 1, "b": 2}, {"a"', "is a JSON array"),
    ],
)
def test_json_that_is_no_json_lines(text, words, name):
    with pytest.raises(DataError, match=words) as caught:
        of(text, name)
    assert "jq -c" in str(caught.value)


def test_a_file_named_json_with_half_an_object_is_no_csv():
    with pytest.raises(DataError, match="first line"):
        of('{"a": 1, "b": ', "x.jsonl")


def test_brackets_in_csv_are_no_array(tmp_path):
    found, done = held(tmp_path, '"[1, 2]",a\n"[3, 4]",b\n[5],c\n')
    assert (len(found.columns), done.rows, done.misfits) == (2, 3, 0)


# --- what validation may not pass ---


def test_a_file_without_rows_never_fits(tmp_path):
    (tmp_path / "x.csv").write_text("id,name\n")
    found = guess_path(f"{tmp_path}/x.csv", LocalStage)
    assert "nothing could be validated" in str(found.check)
    assert found.to_json()["validation"]["share"] == 0
    assert "has no rows" in str(found.problem)


def test_a_packed_file_that_is_cut_off_is_told_as_data(tmp_path):
    draw = random.Random(1)
    data = gzip.compress("".join(f"{n},{draw.random()}\n" for n in range(9_000)).encode())[:-5_000]
    with pytest.raises(DataError, match=r"x\.csv\.gz cannot be read"):
        held(tmp_path, data, "x.csv.gz")


@pytest.mark.parametrize("rows", [10, 60_000])
def test_a_last_quote_that_is_never_closed_does_not_pass(tmp_path, rows):
    text = "a,b\n" + "".join(f"{n},x\n" for n in range(rows))
    found = of(text + "1,x\n")
    (tmp_path / "x.csv").write_text(f'{text}1,"x\n')
    with pytest.raises(DataError, match="quotes do not match"):
        check(tmp_path / "x.csv", found)
    (tmp_path / "x.csv").write_text(text + "1,x")
    assert check(tmp_path / "x.csv", found).rows == rows + 1


# --- several files ---


def test_a_few_files_are_all_read(tmp_path):
    for name, code in (("a", "7"), ("b", "007"), ("c", "8")):
        (tmp_path / f"{name}.csv").write_text(f"id,code\n1,{code}\n2,9\n")
    found = guess_path(f"{tmp_path}/*.csv", LocalStage)
    assert (found.check.rows, found.check.misfits) == (6, 1)
    assert "b.csv: line 2, column 'code': '007'" in str(found.check)
    assert str(found.problem).startswith(f"{tmp_path}/*.csv: 1 of 6 rows")
    assert "3 of 3 files were validated; their headers agree" in str(found.check)
    assert json.loads(json.dumps(found.to_json()))["validation"]["shown"][0]["file"].endswith("b.csv")


def test_of_many_files_the_first_is_read_and_that_is_said(tmp_path):
    for number in range(MOST_READ + 1):
        (tmp_path / f"{number:03}.csv").write_text("id,code\n1,7\n")
    found = guess_path(f"{tmp_path}/*.csv", LocalStage)
    assert found.check.rows == 1
    said = f"1 of {MOST_READ + 1} files was validated; their headers agree"
    assert said in str(found.check)
    assert found.to_json()["validation"]["scope"] == said


def test_a_file_with_another_header_is_not_held_against_the_guess(tmp_path):
    (tmp_path / "a.csv").write_text("id,n\n1,2\n")
    (tmp_path / "b.csv").write_text("id,m\n1,2\n")
    found = guess_path(f"{tmp_path}/*.csv", LocalStage)
    assert str(found.check).endswith("1 of 2 files was validated; 1 has another header")


# --- other lookalikes ---


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("t\n" + "".join(f"2026/01/{n:02} 0{n % 9}:00:00 PM\n" for n in range(1, 29)), ["t"]),
        ("col_0\n a\nb \nb \n", ["col_0"]),
        ("region,2020,2021\nA,1,2\nB,3,4\nC,5,6\n", ["region", "2020", "2021"]),
        ("col_0\n-\n-\n-\n", ["col_0"]),
        ("a\n" + "".join(f"{n}.5e3\n" for n in range(20)) + "inf\n", ["a"]),
        ('col_0\n""\n""\n""\n', ["col_0"]),
        ("col_0,col_1\n\\,1\n\\,2\n\\,1\n", ["col_0", "col_1"]),
        ("d,b,c\n" + "".join(f"2026010{n},\\,{n}.00\n" for n in range(1, 9)), ["d", "b", "c"]),
        ('a|b\n"x\ny"|"x\ny"\n"x\nz"|"x\nz"\n', ["a", "b"]),
    ],
)
def test_names_and_rows(tmp_path, text, names):
    found, done = held(tmp_path, text)
    assert [one.name for one in found.columns] == names
    assert found.form.header
    assert not done.misfits


def test_years_among_years_are_a_row():
    assert not of("a,2020,2021\nb,2019,2022\nc,2001,2002\n").form.header


def test_bytes_without_a_meaning_are_refused():
    with pytest.raises(DataError, match="is binary"):
        of(random.Random(7).randbytes(50_000))


def test_a_path_with_braces_means_itself_in_a_template():
    jinja2 = pytest.importorskip("jinja2")
    path = "/data/{{ x }}/{% y %}/{# z #}.csv"
    given = Call(of("a,b\n1,2\n"), path, "files").parameters()["path"]
    assert jinja2.Template(given).render() == path
