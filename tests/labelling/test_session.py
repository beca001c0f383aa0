"""Sessions: restarts, moved files, annotators who are blind to each other, vanished folders."""

import shutil
import threading
import time

import numpy as np
import pytest

from ilk.core.errors import InputError, OutputError
from ilk.images import Images, Row
from ilk.labelling.items import Item
from ilk.labelling.log import EventLog
from ilk.labelling.session import LabellingSession
from ilk.labelling.status import format_status
from tests.helpers.coloured_images import tell, write_images


def label(session, annotator, n):
    """Answer `n` questions rightly; return the images."""
    asked = []
    for _ in range(n):
        item = session.next_item(annotator)
        session.assign(annotator, item.digest, tell(item.path))
        asked.append(item.digest)
    return asked


def test_whoever_answers_before_the_first_fit_sees_all_classes(open_session):
    session = open_session(refit_every=1000)
    assert session.wait_until_fitted(60)  # or its order would come in between
    session._questions.suggest([])  # as while the first fit runs
    items = []
    for _ in range(24):  # of 60, whose paths are sorted by class
        items.append(session.next_item("ann"))
        session.assign("ann", items[-1].digest, tell(items[-1].path))
    assert {tell(item.path) for item in items[:12]} == {"red", "green", "blue"}
    assert [item.path for item in items] != sorted(item.path for item in items)


def test_labels_survive_a_restart_renaming_and_moving(open_session, folder):
    session = open_session()
    first = label(session, "ann", 12)
    labels = {d: session.get_label(d) for d in first}
    session.close()
    for i, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{i}.png")
    write_images(folder, seed=1, per_colour=1)
    again = open_session()
    assert {d: again.get_label(d) for d in first} == labels
    assert len(again.items) == 63  # the new images are there
    assert again.progress().n_labelled == 12
    assert again.next_item("ann").digest not in first


def test_undo_works_after_a_restart_one_answer_after_the_other(open_session):
    session = open_session()
    first = label(session, "ann", 3)
    session.skip("ann", session.next_item("ann").digest)
    session.close()
    again = open_session()
    assert again.undo("ann").kind == "skip"
    undone = again.undo("ann")
    assert undone.digests == (first[2],)
    assert again.next_item("ann").digest == first[2]
    assert again.undo("ann").digests == (first[1],)
    assert again.undo("ann").digests == (first[0],)
    assert again.undo("ann") is None
    assert again.progress().n_labelled == 0


def test_a_call_that_is_sent_again_changes_nothing(open_session):
    session = open_session()
    one, two = (item.digest for item in session.next_items("ann", 2))
    session.assign("ann", one, "red", key="k1")
    session.assign("ann", two, "blue", key="k2")
    first = session.undo("ann", key="u1")
    session.close()
    again = open_session()
    assert again.undo("ann", key="u1") == first
    assert again.assign("ann", one, "blue", key="k1") == "red"
    assert again.get_label(one) == "red"
    assert again.get_label(two) is None


def test_next_items_are_the_same_until_answered(open_session):
    session = open_session()
    ahead = [item.digest for item in session.next_items("ann", 5)]
    assert len(set(ahead)) == 5
    assert [item.digest for item in session.next_items("ann", 5)] == ahead
    session.assign("ann", ahead[0], "red")
    session.wait_until_fitted()
    assert [item.digest for item in session.next_items("ann", 5)][:4] == ahead[1:]


def test_every_image_is_asked_once_and_skipped_ones_once_more(open_session):
    session = open_session(refit_every=10_000)
    skipped = [item.digest for item in session.next_items("ann", 3)]
    for digest in skipped:
        session.skip("ann", digest)
    unsure = session.next_item("ann").digest
    session.mark_unsure("ann", unsure)
    rest = label(session, "ann", 56)
    assert len({*skipped, unsure, *rest}) == 60
    last = []
    while item := session.next_item("ann"):
        last.append(item.digest)
        session.skip("ann", item.digest)
    assert last == skipped
    assert session.progress().n_unsure == 1


def test_unknown_images_and_names_are_refused(open_session):
    session = open_session()
    with pytest.raises(InputError, match="no image with the digest"):
        session.assign("ann", "00" * 32, "red")
    digest = session.items[0].digest
    for name in ("", "  ", "a\nb", "x" * 300):
        with pytest.raises(InputError, match="name"):
            session.assign("ann", digest, name)
    with pytest.raises(InputError, match="annotator"):
        session.assign(" ", digest, "red")
    assert session.assign("ann", digest, "Red") == "Red"
    assert session.assign("ann", session.items[1].digest, " red ") == "Red"  # spelled alike
    assert session.classes == ("Red",)


def test_a_log_of_other_images_is_refused(open_session, folder, tmp_path):
    session = open_session()
    label(session, "ann", 2)
    session.close()
    write_images(tmp_path / "others", seed=9)
    with pytest.raises(InputError, match=r"of other images than .*others.*begun for .*photos"):
        open_session(tmp_path / "others")
    open_session().close()  # its own folder is taken up


def test_two_sessions_on_one_log_are_refused(open_session):
    session = open_session()
    with pytest.raises(OutputError, match="another ilk process is labelling"):
        open_session()
    session.close()
    open_session()


def test_a_folder_that_vanishes_keeps_its_labels(open_session, folder):
    session = open_session()
    first = label(session, "ann", 8)
    shutil.rmtree(folder)
    assert session.next_item("ann") is None
    with pytest.raises(InputError, match="is gone; its labels are kept"):
        session.read_image(first[0])
    progress = session.progress()
    assert progress.n_labelled == 8
    assert progress.n_gone > 0
    assert any("missing since the folder was read" in note for note in progress.notes)


def test_a_file_that_was_replaced_is_not_shown_as_the_old_one(open_session, folder):
    session = open_session()
    item = session.next_item("ann")
    assert session.read_image(item.digest) == (folder / item.path).read_bytes()
    other = next(path for path in folder.iterdir() if path.name != item.path)
    shutil.copy(other, folder / item.path)
    with pytest.raises(InputError, match="has changed since the folder was read"):
        session.read_image(item.digest)


def test_given_labels_teach_and_are_not_asked(open_session, folder):
    for colour in ("red", "green"):
        (folder / colour).mkdir()
        for i in range(5):
            shutil.move(folder / f"{colour}_0_{i}.png", folder / colour)
    session = open_session()
    given = {item.digest for item in session.items if item.given_label}
    assert len(given) == 10
    assert session.classes == ("green", "red")
    session.wait_until_fitted()
    item = session.next_item("ann")
    assert item.label in ("red", "green")
    assert 0 < item.probability <= 1
    assert format_status(session.progress())[0].endswith(
        "60: 10 with a given label, 0 labelled, 0 unsure, 50 open"
    )
    asked = label(session, "ann", 50)
    assert set(asked).isdisjoint(given)
    assert session.next_item("ann") is None
    assert session.progress().counts == {"green": 20, "red": 20, "blue": 20}


def test_annotators_get_common_images_and_stay_blind(open_session):
    session = open_session(shared=0.2, refit_every=10_000)
    mine = label(session, "a", 40)
    yours = label(session, "b", 40)
    common = set(mine) & set(yours)
    assert 8 <= len(common) < 40  # the audit and the share
    assert any("annotators differ" in n for n in session.progress().notes) is False
    (pair,) = session.progress().agreement
    assert pair.n == len(common)
    assert pair.kappa.value == 1


def test_what_is_suggested_has_not_learned_from_the_other_annotator(open_session):
    """A class that one image alone has would give away that somebody called it so."""
    session = open_session(shared=1.0)
    items = {item.path: item.digest for item in session.items}
    for i in range(8):
        for colour in ("red", "green", "blue"):
            session.assign("a", items[f"{colour}_0_{i}.png"], colour)
    session.assign("b", items["red_0_1.png"], "red")
    session.assign("a", items["red_0_9.png"], "crimson")
    session.wait_until_fitted()
    ranking = dict(session.suggest(items["red_0_9.png"]).ranking)
    assert "crimson" not in ranking
    assert ranking["red"] > 0.7
    assert "crimson" in dict(session.suggest(items["red_0_10.png"]).ranking)


def test_what_one_is_being_asked_is_not_asked_of_another(open_session):
    session = open_session(shared=0.0, refit_every=10_000)
    session.wait_until_fitted()
    mine = {item.digest for item in session.next_items("a", 20)}
    yours = {item.digest for item in session.next_items("b", 20)}
    audit = {session.items[i].digest for i in session._audit}
    assert len(mine) == len(yours) == 20
    assert mine & yours <= audit


def test_one_question_in_ten_is_a_common_one_and_one_in_five_of_the_audit(open_session):
    session = open_session(shared=0.5, refit_every=10_000)
    mine = label(session, "a", 30)
    yours = label(session, "b", 20)
    audit = [session.items[i].digest for i in session._audit]
    assert yours[5] in mine
    assert yours[15] in mine
    assert [yours[i] for i in (4, 9, 14)] == [d for d in audit if d in yours[4::5]][:3]
    others = [d for i, d in enumerate(yours) if i % 5 != 4 and i % 10 != 5]
    assert not set(others) & set(mine)


def test_assigning_costs_little_more_than_the_flush_to_disk(folder, tmp_path):
    rng = np.random.default_rng(0)
    rows = tuple(Row("1.png", digest=f"{i:064x}") for i in range(20_000))
    images = Images(folder, rows)
    items = [Item(row.digest, row.path) for row in rows]
    x = rng.standard_normal((len(rows), 16)).astype(np.float32)
    log, other = EventLog(tmp_path / "log"), EventLog(tmp_path / "other")
    session = LabellingSession(images, items, x, log, refit_every=10_000)
    session.wait_until_fitted()
    seconds, bare = [], []
    for i in range(15):
        start = time.thread_time()
        session.assign("a", items[i].digest, "cat")
        seconds.append(time.thread_time() - start)
        start = time.thread_time()
        other.append("a", "label", [items[i].digest], "cat")
        bare.append(time.thread_time() - start)
    other.close()
    session.close()
    assert np.median(seconds) < 3 * np.median(bare) + 0.005


def test_disagreements_teach_nothing_until_they_are_resolved(open_session):
    session = open_session()
    digest = session.items[0].digest
    session.assign("a", digest, "red")
    session.assign("b", digest, "blue")
    assert session.get_label(digest) is None
    assert [d.digest for d in session.list_disagreements()] == [digest]
    assert session.progress().n_disputed == 1
    session.resolve(digest, "red")
    assert session.get_label(digest) == "red"
    assert not session.list_disagreements()


def test_two_annotators_in_threads_lose_nothing(open_session):
    session = open_session(shared=0.0)
    errors = []

    def work(name):
        try:
            label(session, name, 25)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    events = [e for e in session.log.read_events() if e.kind == "label"]
    assert len(events) == 50
    answered = [session.list_labels(name) for name in ("a", "b")]
    assert [len(a) for a in answered] == [25, 25]
    audit = {session.items[i].digest for i in session._audit}
    common = {x.digest for x in answered[0]} & {x.digest for x in answered[1]}
    assert common <= audit  # nothing else was asked of both
    assert all(session.get_label(e.digests[0]) == e.label for e in events)


def test_groups_hold_no_audited_or_answered_image_and_are_taken_back_at_once(open_session, folder):
    write_images(folder, seed=3, per_colour=40)
    session = open_session()
    first = label(session, "ann", 15)
    session.wait_until_fitted()
    groups = session.list_groups()
    members = [d for group in groups for d in group.digests]
    assert members
    assert len(members) == len(set(members))
    audit = {session.items[i].digest for i in session._audit}
    assert not set(members) & (audit | set(first))
    known = [g for g in groups if not g.is_new]
    for group in known:
        paths = [session.items[session._position[d]].path for d in group.digests]
        assert np.mean([tell(p) == group.name for p in paths]) > 0.9
        assert group.probability >= 0.9
    before = session.progress().n_labelled
    session.assign("ann", groups[0].digests, "red")
    assert session.progress().n_labelled == before + len(groups[0].digests)
    session.undo("ann")
    assert session.progress().n_labelled == before


def test_status_is_one_line_per_fact(open_session):
    session = open_session()
    label(session, "ann", 30)
    session.wait_until_fitted()
    lines = format_status(session.progress())
    assert lines[0].endswith("60: 0 with a given label, 30 labelled, 0 unsure, 30 open")
    assert any("random images that the model had not learned from" in line for line in lines)
    session.close()
    reader = open_session(read_only=True)
    reader.wait_until_fitted()
    assert format_status(reader.progress())[0] == lines[0]
