"""Batches as messages of Colmet's form. Apart from the sender, since few nodes need its long lists of counters."""

from __future__ import annotations

from collections.abc import Iterator

from jobmeter.model.sample import SampleBatch
from jobmeter.wire.colmet import encode
from jobmeter.wire.colmet_samples import ColmetForm


class ColmetMessages:
    """Makes the messages of one node, in the order of its batches."""

    def __init__(self) -> None:
        self._form = ColmetForm()

    def __call__(self, batch: SampleBatch) -> Iterator[tuple[int, bytes]]:
        """A message, if there is anything in the batch that Colmet knows, with the number of samples in it."""
        made = self._form.converted(batch).made
        if made:
            yield sum(len(each.members) for each in made), encode(each.record for each in made)
