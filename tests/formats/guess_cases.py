"""Small files and what they are: ours, written for these tests, after what users of guessing tools reported.

``embulk`` says what Embulk's guess is known to make of the same: by its documentation, its source, or the issue named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A file.

    :param types: column -> type; all of them.
    :param form: what ``file_format`` has to say, beside the type and a comma.
    :param why: words that the reasons or warnings have in them.
    :param embulk: what Embulk's guess makes of it, "" where it is right, too.
    """

    name: str
    text: str | bytes
    types: dict[str, str]
    form: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    embulk: str = ""
    file: str = "x.csv"
    charset: str = "utf-8"


def lines(*rows: str, end: str = "\n") -> str:
    return end.join(rows) + end


CASES = [
    # --- Embulk's own public cases: its example, its documentation, its test names ---
    Case(
        "embulk example",
        lines(
            "id,account,time,purchase,comment",
            "1,32864,2015-01-27 19:23:49,20150127,embulk",
            "2,14824,2015-01-27 19:01:23,20150127,embulk jruby",
            '3,27559,2015-01-28 02:20:02,20150128,"Embulk ""csv"" parser plugin"',
            "4,11270,2015-01-29 11:54:36,20150129,NULL",
        ),
        {"id": "bigint", "account": "bigint", "time": "timestamp", "purchase": "bigint", "comment": "text"},
        why="could be dates",
        embulk="purchase: timestamp %Y%m%d, and NULL is a null_string for every column",
    ),
    Case(
        "#162: quoted Japanese header, all of it text but one",
        lines('"ID","名前","住所"', '"1","あ","北海道"', '"2","い","東京"'),
        {"ID": "bigint", "名前": "text", "住所": "text"},
        embulk="0.6.2: header missed, c0, c1, c2",
    ),
    Case(
        "#284: CP932, quotes of the other kind in it, a header in Japanese",
        lines(
            "番号,署コード,警察署,郵便番号,住所,緯度,電話番号",
            "83,9718,早良警察署,814-0006,早良区百道1-5-15,33.582933,092-847-0110",
            "84,9719,西警察署,819-0041,西区拾六町1-13-7,33.580111,092-805-6110",
            end="\r\n",
        ),
        {
            "番号": "bigint",
            "署コード": "bigint",
            "警察署": "text",
            "郵便番号": "text",
            "住所": "text",
            "緯度": "decimal(18,6)",
            "電話番号": "text",
        },
        {"charset": "cp932"},
        charset="cp932",
        embulk="header missed: columns named c0, c1, or by the first row",
    ),
    Case(
        "#284: all columns text, header in Japanese",
        lines("施設名,所在地,電話", "中央図書館,福岡市早良区,092-852-0600", "東図書館,福岡市東区,092-674-3982"),
        {"施設名": "text", "所在地": "text", "電話": "text"},
        embulk="header missed",
    ),
    Case(
        "#456: seconds since 1970",
        lines("id,at", "1,1456012800", "2,1456099200"),
        {"id": "bigint", "at": "bigint"},
        embulk="at: timestamp %Y%m%d%H",
    ),
    Case(
        "#136: what is a boolean",
        lines("id,flag,answer,bit,real", "1,Y,yes,1,true", "2,N,no,0,false", "3,Y,no,1,true"),
        {"id": "bigint", "flag": "text", "answer": "text", "bit": "bigint", "real": "boolean"},
        embulk="flag and answer: boolean",
    ),
    Case(
        "#187: a number of digits is no time",
        lines("id,code", "1,20150101123456", "2,20159901123456"),
        {"id": "bigint", "code": "bigint"},
        embulk="code: timestamp with a format that does not fit all",
    ),
    Case(
        "#1365: a row with \\N before the others, no header",
        lines(
            '"-1"\t"hoge"\t""\t\\N\t"2020-06-27 00:00:00"',
            '"8"\t""\t""\t"1"\t"2020-12-12 00:00:00"',
            '"9"\t""\t""\t"1"\t"2020-12-12 00:00:00"',
        ),
        {"column_1": "bigint", "column_2": "text", "column_3": "text", "column_4": "bigint", "column_5": "timestamp"},
        {
            "delimiter": "\t",
            "header": False,
            "columns": [f"column_{n}" for n in range(1, 6)],
            "null_values": ["", "\\N"],
        },
        file="x.tsv",
        embulk="the first row is taken for the header",
    ),
    Case(
        "#1217: many empty quoted texts",
        lines("id,a,b,c", '1,"","",""', '2,"","",""', '3,"x\\y","",""'),
        {"id": "bigint", "a": "text", "b": "text", "c": "text"},
        embulk='escape guessed by counting ""',
    ),
    Case("tabs", lines("id\tname", "1\ta, b", "2\tc"), {"id": "bigint", "name": "text"}, {"delimiter": "\t"}),
    Case("pipes", lines("id|name", "1|a, b", "2|c;d"), {"id": "bigint", "name": "text"}, {"delimiter": "|"}),
    Case(
        "semicolons with commas inside",
        lines("id;name;price", "1;a, b;1,50", "2;c, d;2,75"),
        {"id": "bigint", "name": "text", "price": "text"},
        {"delimiter": ";"},
        why="decimal comma",
    ),
    Case("single quotes", lines("id,name", "1,'a, b'", "2,'it''s'"), {"id": "bigint", "name": "text"}, {"quote": "'"}),
    Case(
        "backslash as the escape",
        lines("id,name", r'1,"say \"hi\", you"', r'2,"a \"b\""'),
        {"id": "bigint", "name": "text"},
        {"escape": "\\"},
    ),
    Case(
        "quotes inside of values only",
        lines("id,size", '1,5" pipe', '2,7" tube'),
        {"id": "bigint", "size": "text"},
        {"quote": ""},
    ),
    Case(
        "line breaks in quotes", lines("id,note", '1,"a', 'b"', '2,"c, d', '"', "3,e"), {"id": "bigint", "note": "text"}
    ),
    Case(
        "a space after each comma",
        lines("id, name, at", "1, a, 2026-01-02", '2, "b, c", 2026-01-03'),
        {"id": "bigint", "name": "text", "at": "date"},
        {"trim": True},
    ),
    Case(
        "lines before the header",
        lines("Report of sales", "made on 2026-01-02", "", "id,name,price", "1,a,1.50", "2,b,2.75"),
        {"id": "bigint", "name": "text", "price": "decimal(18,2)"},
        {"skip_lines": 3},
    ),
    Case(
        "comments",
        lines("# made by x, on a day", "# and more", "id,name", "1,a", "# in between", "2,b"),
        {"id": "bigint", "name": "text"},
        {"comment": "#"},
    ),
    Case("a header that begins with #", lines("#id,name", "1,a", "2,b"), {"#id": "bigint", "name": "text"}),
    Case(
        "a delimiter at the end of each line",
        lines("id,name,", "1,a,", "2,b,"),
        {"id": "bigint", "name": "text"},
        {"header": False, "columns": ["id", "name", "_empty"], "skip_lines": 1},
        why="ends with a delimiter",
    ),
    Case(
        "a delimiter at the end of rows, not of the header",
        lines("id,name", "1,a,", "2,b,", "3,c,"),
        {"id": "bigint", "name": "text"},
        {"header": False, "columns": ["id", "name", "_empty"], "skip_lines": 1},
    ),
    Case("one column", lines("name", "Miller, A.", "Smith"), {"name": "text"}, {"delimiter": "\t"}),
    Case("one column of numbers", lines("n", "1", "2"), {"n": "bigint"}),
    Case(
        "no header",
        lines("1,a,2026-01-02", "2,b,2026-01-03"),
        {"column_1": "bigint", "column_2": "text", "column_3": "date"},
        {"header": False, "columns": ["column_1", "column_2", "column_3"]},
    ),
    Case("a header alone", lines("id,name,created_at"), {"id": "text", "name": "text", "created_at": "text"}),
    Case(
        "names twice",
        lines("id,name,name", "1,a,b", "2,c,d"),
        {"id": "bigint", "name": "text", "name_2": "text"},
        {"header": False, "columns": ["id", "name", "name_2"], "skip_lines": 1},
        why="more than once",
    ),
    Case(
        "a name that is missing",
        lines("id,,name", "1,2,b", "2,3,d"),
        {"id": "bigint", "column_2": "bigint", "name": "text"},
        {"header": False, "columns": ["id", "column_2", "name"], "skip_lines": 1},
        why="no name for column 2",
    ),
    Case(
        "years as names",
        lines("country,2024,2025", "Japan,10,20", "France,30,40"),
        {"country": "text", "2024": "bigint", "2025": "bigint"},
    ),
    # --- charsets and line ends ---
    Case(
        "EUC-JP",
        lines("番号,氏名", "1,田中太郎", "2,佐藤花子"),
        {"番号": "bigint", "氏名": "text"},
        {"charset": "euc_jp"},
        charset="euc_jp",
    ),
    Case(
        "half-width kana",
        lines("番号,カナ", "1,ﾀﾅｶ ﾀﾛｳ", "2,ｻﾄｳ ﾊﾅｺ"),
        {"番号": "bigint", "カナ": "text"},
        {"charset": "cp932"},
        charset="cp932",
    ),
    Case(
        "Latin-1",
        lines("id,name", "1,José Müller", "2,Zoë Grün", "3,été à Besançon"),
        {"id": "bigint", "name": "text"},
        {"charset": "cp1252"},
        charset="latin-1",
    ),
    Case(
        "Windows-1252",
        lines("id,price", "1,10 €", "2,“a”"),
        {"id": "bigint", "price": "text"},
        {"charset": "cp1252"},
        charset="cp1252",
    ),
    Case(
        "UTF-16 with a mark",
        lines("id,name", "1,田中", "2,b"),
        {"id": "bigint", "name": "text"},
        {"charset": "utf-16"},
        charset="utf-16",
    ),
    Case(
        "UTF-16 without a mark",
        lines("id,name", "1,a", "2,b"),
        {"id": "bigint", "name": "text"},
        {"charset": "utf-16-le"},
        charset="utf-16-le",
    ),
    Case("UTF-8 with a mark", lines("id,name", "1,田中", "2,b"), {"id": "bigint", "name": "text"}, charset="utf-8-sig"),
    Case(
        "ISO-2022-JP",
        lines("番号,氏名", "1,田中", "2,佐藤"),
        {"番号": "bigint", "氏名": "text"},
        {"charset": "iso2022_jp"},
        charset="iso2022_jp",
    ),
    Case("CR alone", lines("id,name", "1,a", "2,b", end="\r"), {"id": "bigint", "name": "text"}),
    # --- types ---
    Case(
        "leading zeros, phones, ZIP codes",
        lines(
            "id,code,phone,intl,zip",
            "1,00001,090-1234-5678,+819012345678,1000001",
            "2,00002,03-1234-5678,+81312345678,9012345",
        ),
        {"id": "bigint", "code": "text", "phone": "text", "intl": "text", "zip": "text"},
    ),
    Case(
        "NA is a country",
        lines("id,country", "1,NA", "2,JP", "3,NA"),
        {"id": "bigint", "country": "text"},
        embulk="right by accident: NA is no null_string",
    ),
    Case(
        "NA is NULL among numbers",
        lines("id,n", "1,10", "2,NA", "3,30"),
        {"id": "bigint", "n": "bigint"},
        {"null_values": ["", "NA"]},
        embulk="n: string",
    ),
    Case(
        "NA both ways",
        lines("id,n,country", "1,10,JP", "2,NA,NA", "3,30,FR"),
        {"id": "bigint", "n": "text", "country": "text"},
        why="Namibia",
    ),
    Case(
        "markers of several kinds",
        lines("a,b,c,d", "1,2,3,4.5", r"\N,NULL,N/A,-", "2,3,#N/A,5.5"),
        {"a": "bigint", "b": "bigint", "c": "bigint", "d": "decimal(18,1)"},
        {"null_values": ["", "\\N", "NULL", "N/A", "#N/A", "-"]},
    ),
    Case(
        "a quoted NULL",
        lines('"id","n"', '"1","10"', '"2","NULL"', '"3","30"'),
        {"id": "bigint", "n": "bigint"},
        {"null_values": ["", "NULL"], "quoted_nulls": True},
    ),
    Case(
        "eight digits named a date",
        lines("order_date,n", *(f"202401{day:02},1" for day in range(1, 21))),
        {"order_date": "date", "n": "bigint"},
        {"time_formats": {"order_date": "%Y%m%d"}},
    ),
    Case(
        "eight digits not named a date",
        lines("lot,n", *(f"202401{day:02},1" for day in range(1, 21))),
        {"lot": "bigint", "n": "bigint"},
        embulk="lot: timestamp %Y%m%d",
    ),
    Case(
        "eight digits named a date, one is none",
        lines("order_date,n", *(f"202402{day:02},1" for day in range(20, 31))),
        {"order_date": "bigint", "n": "bigint"},
    ),
    Case("versions", lines("id,v", "1,1.9", "2,1.10", "3,1.11"), {"id": "bigint", "v": "text"}, embulk="v: double"),
    Case(
        "versions by name", lines("id,version", "1,1.1", "2,1.2"), {"id": "bigint", "version": "text"}, embulk="double"
    ),
    Case(
        "codes like numbers",
        lines("id,a,b", "1,1e5,0x1F", "2,2e7,0xFF"),
        {"id": "bigint", "a": "text", "b": "text"},
        embulk="a: double",
    ),
    Case("floating point", lines("id,x", "1,1.5e-07", "2,0.25"), {"id": "bigint", "x": "double"}),
    Case(
        "beyond bigint",
        lines("a,b", "9223372036854775808,1" + "0" * 40, "1,2"),
        {"a": "decimal(25,0)", "b": "text"},
        embulk="a: long, which overflows",
    ),
    Case(
        "decimals",
        lines("a,b,c", "1.50,0.001,-12", "12345.25,10.5,7.25"),
        {"a": "decimal(18,2)", "b": "decimal(18,3)", "c": "decimal(18,2)"},
        embulk="double",
    ),
    Case(
        "amounts, percentages, thousands",
        lines("a;b;c;d", "$10;5%;1,000;¥300", "$2.50;10%;2,500,000;¥1"),
        dict.fromkeys("abcd", "text"),
        {"delimiter": ";"},
    ),
    Case(
        "UUID",
        lines("id,n", "0b5e2f9c-6f0a-4b9e-9d0f-0123456789ab,1", "0b5e2f9c-6f0a-4b9e-9d0f-0123456789ac,2"),
        {"id": "uuid", "n": "bigint"},
    ),
    Case("UUIDs in capitals stay as they are", lines("id", "0B5E2F9C-6F0A-4B9E-9D0F-0123456789AB"), {"id": "text"}),
    Case("t and f", lines("a,b", "t,t", "f,t", "t,t"), {"a": "boolean", "b": "text"}),
    Case(
        "dates of other countries",
        lines("a,b,c,d", "2026/01/02,02.01.2026,31/12/2026,12/31/2026", "2026/1/3,03.01.2026,01/02/2026,01/02/2026"),
        dict.fromkeys("abcd", "date"),
        {"time_formats": {"a": "%Y/%m/%d", "b": "%d.%m.%Y", "c": "%d/%m/%Y", "d": "%m/%d/%Y"}},
    ),
    Case(
        "day or month first: nobody can tell",
        lines("id,d", "1,01/02/2026", "2,03/04/2026"),
        {"id": "bigint", "d": "text"},
        why="nobody can tell",
        embulk="timestamp %d/%m/%Y or %m/%d/%Y",
    ),
    Case(
        "Japanese dates",
        lines("id,日付", "1,2026年1月2日", "2,2026年12月31日"),
        {"id": "bigint", "日付": "date"},
        {"time_formats": {"日付": "%Y年%m月%d日"}},
    ),
    Case("two digits for the year", lines("id,d", "1,01/02/26", "2,31/12/26"), {"id": "bigint", "d": "text"}),
    Case(
        "timestamps",
        lines(
            "a,b,c,d,e",
            "2026-01-02T03:04:05.123456Z,2026-01-02 03:04:05+09:00,2026-01-02 03:04,"
            "2026/01/02 03:04:05,2026-01-02 03:04:05 UTC",
            "2026-01-02T03:04:05Z,2026-01-02 03:04:05+00:00,"
            "2026-01-02 23:04,2026/01/02 23:04:05,2026-01-02 03:04:06 UTC",
        ),
        {"a": "timestamptz", "b": "timestamptz", "c": "timestamp", "d": "timestamp", "e": "timestamp"},
        {"time_formats": {"d": "%Y/%m/%d %H:%M:%S", "e": "%Y-%m-%d %H:%M:%S UTC"}},
    ),
    Case(
        "zones for some",
        lines("id,a", "1,2026-01-02 03:04:05", "2,2026-01-02 03:04:05Z"),
        {"id": "bigint", "a": "text"},
    ),
    Case(
        "nanoseconds",
        lines("id,a", "1,2026-01-02 03:04:05.123456789", "2,2026-01-02 03:04:05"),
        {"id": "bigint", "a": "text"},
    ),
    Case("24:00:00 and times", lines("a,b", "24:00:00,03:04:05", "01:00:00,23:59:59"), {"a": "text", "b": "time"}),
    Case("no such day", lines("id,d", "1,2026-02-30", "2,2026-02-28"), {"id": "bigint", "d": "text"}),
    Case(
        "Apache",
        lines("id,at", "1,10/Oct/2000:13:55:36 -0700", "2,11/Oct/2000:13:55:36 -0700"),
        {"id": "bigint", "at": "timestamptz"},
        {"time_formats": {"at": "%d/%b/%Y:%H:%M:%S %z"}},
    ),
    Case("JSON", lines("id,doc", '1,"{""a"": [1, 2]}"', '2,"{}"'), {"id": "bigint", "doc": "json"}),
    Case("an empty column", lines("id,note", "1,", "2,"), {"id": "bigint", "note": "text"}, why="empty"),
    Case("digits in front of words", lines("id,a", "1,12 apples", "2,30"), {"id": "bigint", "a": "text"}),
    Case("a plus in front", lines("id,a", "1,+5", "2,+7"), {"id": "bigint", "a": "text"}),
    Case("minus zero", lines("id,a", "1,-0", "2,5"), {"id": "bigint", "a": "text"}),
    Case(
        "Excel's first line",
        lines("sep=;", "id;name", "1;a", "2;b"),
        {"id": "bigint", "name": "text"},
        {"delimiter": ";", "skip_lines": 1},
    ),
    Case(
        "spaces around values",
        lines("id,name,d", " 1 ,a,2026/01/02 ", "22 ,b ,2026/01/13"),
        {"id": "bigint", "name": "text", "d": "text"},
    ),
    Case("a value of spaces", lines("id,n", "1,5", "2,  "), {"id": "bigint", "n": "text"}),
    Case(
        "Chinese is not Japanese for sure",
        lines("编号,姓名", "1,张三丰", "2,李四光"),
        {
            "编号".encode("gb18030").decode("euc_jp", "replace"): "bigint",
            "姓名".encode("gb18030").decode("euc_jp", "replace"): "text",
        },
        {"charset": "euc_jp"},
        charset="gb18030",
        why="may be Chinese",
    ),
    Case(
        "the first row comes again",
        lines("north,open", "south,shut", "north,open", "east,shut"),
        {"column_1": "text", "column_2": "text"},
        {"header": False, "columns": ["column_1", "column_2"]},
    ),
    Case("zeros in front, and why", lines("a", "007", "12"), {"a": "text"}, why="begin with zeros"),
]
