"""A model that gives these texts, each after its time: for races."""

import anyio

from outthink.core.budget import Price
from outthink.core.model import Generation, Reply


class Timed:
    """``rows`` are (seconds, text, finish); the sample's place names its row.  A token a word."""

    name, price, native_n, max_tokens = "timed", Price(), True, 99
    capabilities = frozenset()

    def __init__(self, *rows):
        self.rows, self.cancelled = rows, 0

    def count_tokens(self, messages, prefix=""):
        return 1

    async def generate(self, request, ticket):
        assert request.n == 1
        seconds, text, finish = self.rows[request.nodes[0][-1]]
        written, begun = len(text.split()), anyio.current_time()
        try:
            await anyio.sleep(seconds)
        except BaseException:
            share = (anyio.current_time() - begun) / seconds
            ticket.partial = self.price.usage(1, int(share * written))
            self.cancelled += 1
            raise
        return Reply((Generation(text, written, finish),), self.price.usage(1, written))

    async def aclose(self):
        pass
