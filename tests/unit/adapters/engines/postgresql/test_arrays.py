from bloomweaver.adapters.engines.postgresql import arrays


def test_numbers_keep_every_digit():
    assert arrays.numbers([1, None, 2**53, 0.1, 1790000000.123456]) == "{1,NULL,9007199254740992,0.1,1790000000.123456}"


def test_flags_are_written_as_the_server_reads_them():
    assert arrays.flags([True, False]) == "{True,False}"


def test_texts_are_quoted_so_that_none_is_structure():
    assert arrays.texts(["a", "b c"]) == '{"a","b c"}'
    assert arrays.texts(["NULL", None]) == '{"NULL",NULL}'
    assert arrays.texts(["{a,b}", '"', "\\"]) == '{"{a,b}","\\"","\\\\"}'


def test_columns_of_nothing_are_empty():
    assert arrays.texts([]) == "{}"
    assert arrays.texts([None, None]) == "{NULL,NULL}"
    assert arrays.texts([""]) == '{""}'
    assert arrays.Columns(a="bigint", b="text").values([]) == ["{}", "{}"]


def test_rows_become_columns():
    columns = arrays.Columns(a="bigint", end="text")
    assert columns.names == '"a", "end"'
    assert columns.unnest == "unnest(%s::bigint[], %s::text[])"
    assert columns.values([(1, "x"), (2, None)]) == ["{1,2}", '{"x",NULL}']
