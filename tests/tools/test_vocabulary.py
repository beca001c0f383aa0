"""The vocabulary's files are made from WordNet's, here from a WordNet of five synsets."""

from tools import vocabulary

DATA = """  1 A licence.
00000001 03 n 01 entity 0 002 ~ 00000002 n 0000 ~ 00000003 n 0000 | all there is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | lives
00000003 06 n 01 tool 0 001 @ 00000001 n 0000 | is used
00000004 05 n 02 mouse 0 Mus_musculus 0 002 @ 00000002 n 0000 + 00000009 v 0101 | gnaws
00000005 06 n 01 mouse 0 001 @ 00000003 n 0000 | clicks
"""
INDEX = """  1 A licence.
entity n 1 1 ~ 1 0 00000001
animal n 1 1 @ 1 0 00000002
beast n 1 1 @ 1 0 00000002
tool n 1 1 @ 1 0 00000003
mouse n 2 1 @ 2 1 00000004 00000005
mus_musculus n 1 1 @ 1 0 00000004
"""


def test_classes_come_first_with_parents_words_and_rarer_senses(tmp_path):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    (tmp_path / "noun.exc").write_text("mice mouse\nbeasts beast\ngeese goose\n")
    table = vocabulary.format_synsets(["n00000005"], tmp_path)
    assert table.splitlines() == [
        "n00000005\tn00000003\tmouse#2",
        "n00000001\t\tentity",
        "n00000003\tn00000001\ttool",
    ]
    both = vocabulary.format_synsets(["n00000005", "n00000004"], tmp_path)
    assert both.splitlines()[1] == "n00000004\tn00000002\tmouse, Mus musculus"
    assert vocabulary.format_irregular(both, tmp_path) == "mice\tmouse\n"
