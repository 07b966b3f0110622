"""The line of waiting messages, compared with a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qtasks_core.memory.queue import Line
from qtasks_core.memory.task import Task
from qtasks_core.naming import new_uuid

STEPS = st.lists(st.tuples(st.sampled_from(["push", "push", "push", "pop", "remove"]), st.integers(0, 3)), max_size=400)


@given(STEPS)
def test_a_line_is_a_sorted_list(steps: list[tuple[str, int]]) -> None:
    """However tasks come, are taken and leave from the middle: order, length and head agree."""
    line = Line()
    model: dict[tuple[int, float, int], Task] = {}
    for number, (step, priority) in enumerate(steps):
        if step == "push":
            key = (priority, 0.0, number)
            model[key] = Task(new_uuid())
            line.push(key, model[key])
        elif step == "pop" and model:
            assert model.pop(min(model)) is line.pop()
        elif step == "remove" and model:
            line.remove(model.pop(sorted(model)[len(model) // 2]))
        assert len(model) == len(line)
        assert min(model, default=None) == line.head()
    assert sorted(model.items(), key=lambda item: item[0]) == list(line)


def test_a_line_of_the_cancelled_takes_no_memory() -> None:
    """Entries of tasks that left are dropped also when nobody takes any."""
    line = Line()
    for number in range(10_000):
        task = Task(new_uuid())
        line.push((0, 0.0, number), task)
        line.remove(task)

    assert 0 == len(line)
    assert len(line._heap) < 200
