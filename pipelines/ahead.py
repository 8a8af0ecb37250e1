"""Reads several pages of a list at once, and hands them on in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(fetch: Callable[[int], T], numbers: Sequence[int], *, at_once: int) -> Iterator[T]:
    """Give fetch(number) for each number, in order, while up to `at_once` are under way.

    At most twice as many wait to be taken, so that a slow reader does not fill the memory. What `fetch` raises
    is raised at its place; what was begun is waited for, what was not is left. With less than two numbers, or
    one at once, no thread is used.
    """
    if at_once < 2 or len(numbers) < 2:
        yield from (fetch(number) for number in numbers)
        return
    with ThreadPoolExecutor(min(at_once, len(numbers)), thread_name_prefix="ahead") as pool:
        left = iter(numbers)
        begun: deque[Future[T]] = deque()
        try:
            while True:
                for number in left:
                    begun.append(pool.submit(fetch, number))
                    if len(begun) >= 2 * at_once:
                        break
                if not begun:
                    return
                yield begun.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
