"""What strategies share that cut, end or lengthen the thoughts of a model that thinks in its text."""

from __future__ import annotations

from outthink.core.model import Thinking
from outthink.core.nouns import Sample
from outthink.core.run import Run


def ends_thought(sample: Sample, marks: Thinking) -> bool:
    """Did the model end its thought with this step?"""
    return sample.finish == "step" and sample.delta.endswith(marks.close)


def put(run: Run, sample: Sample, keep: int | None, text: str) -> Sample:
    """The sample cut after ``keep`` characters of its last step, with ``text`` on a line of its own."""
    whole = (sample.parent.text if sample.parent else "") + sample.delta[:keep]
    gap = "" if whole.endswith("\n") or not whole else "\n"
    return run.edit(sample, keep=keep, add=gap + text)


def close(run: Run, sample: Sample, marks: Thinking, keep: int | None = None) -> Sample:
    """The thought cut after ``keep`` characters of its last step, and ended: the answer comes next."""
    return put(run, sample, keep, marks.close)
