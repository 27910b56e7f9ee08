"""Votes replayed over 1,000 problems x 256 samples x 1,000 resamples: ours, and the loop of a notebook.

Plain, weighted and adaptive (beta, 0.95) self-consistency at nine budgets, in one run on the same orders.
The loop (``Counter``, a dictionary of weights, ``most_common`` and the beta rule at each sample until it
stops; ties by the share that is right) runs over a part of the problems and orders, where its results must
be ours, and its time is scaled by the number of samples.  Targets: all three together in 10 s on 2 cores
with less than 2 GB, and 100 times as fast as the loop.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from scipy.special import betainc

from outthink.lab.pools import Pools
from outthink.lab.resample import Rule, Vote, random_orders, replay
from outthink.stop.beta import Beta

PROBLEMS, SAMPLES, RESAMPLES, THRESHOLD = 1000, 256, 1000, 0.95
BUDGETS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
PLAIN, WEIGHTED, ADAPTIVE = Vote(), Vote("score"), Vote(stop=Beta(THRESHOLD))
#: every 25th problem, 50 orders
STRIDE, ORDERS = 25, 50


def made_up(seed: int = 0) -> Pools:
    """Problems with 2 to 40 answers from nearly sure to nearly even, and scores that know a little."""
    rng = np.random.default_rng(seed)
    shape = PROBLEMS, SAMPLES
    classes, right = np.empty(shape, dtype=np.int32), np.zeros(shape, dtype=bool)
    for p in range(PROBLEMS):
        share = rng.dirichlet(np.full(rng.integers(2, 41), rng.choice([0.1, 0.3, 1.0])))
        drawn = rng.choice(len(share), SAMPLES, p=share)
        _, first, place = np.unique(drawn, return_index=True, return_inverse=True)
        classes[p] = np.argsort(np.argsort(first))[place]
        right[p] = drawn == rng.choice(len(share), p=share)
    scores = rng.beta(np.where(right, 3.0, 2.0), 2.0)
    tokens = rng.integers(80, 800, shape).astype(np.float64)
    names = tuple(f"problem-{p}" for p in range(PROBLEMS))
    return Pools(classes, right, tokens, np.ones(shape, dtype=bool), names, {"score": scores})


def notebook(pools: Pools, orders: np.ndarray) -> np.ndarray:
    """Right (plain, weighted, adaptive), samples and tokens (adaptive): ``(5, problems, budgets)``."""
    out = np.zeros((5, len(pools), len(BUDGETS)))
    at = {budget: b for b, budget in enumerate(BUDGETS)}
    all_orders = orders.tolist()
    for p in range(len(pools)):
        answers = pools.classes[p].tolist()
        weights = pools.scores["score"][p].tolist()
        tokens = pools.tokens[p].tolist()
        good = {a for a, r in zip(answers, pools.right[p].tolist(), strict=True) if r}
        for order in all_orders:
            counts: Counter[int] = Counter()
            sums: defaultdict[int, float] = defaultdict(float)
            choice, used, spent = None, 0, 0.0
            for n, i in enumerate(order, 1):
                answer = answers[i]
                counts[answer] += 1
                sums[answer] += weights[i]
                if choice is None:
                    top = counts.most_common(2)
                    first, second = top[0][1], top[1][1] if len(top) > 1 else 0
                    used, spent = n, spent + tokens[i]
                    if betainc(second + 1, first + 1, 0.5) > THRESHOLD:
                        choice = top[0][0]
                if n in at:
                    b = at[n]
                    most = max(counts.values())
                    tied = [a for a, votes in counts.items() if votes == most]
                    fair = sum(a in good for a in tied) / len(tied)
                    out[0, p, b] += fair
                    out[1, p, b] += max(sums, key=sums.__getitem__) in good
                    out[2, p, b] += fair if choice is None else choice in good
                    out[3, p, b] += used
                    out[4, p, b] += spent
    return out / len(orders)


def timed(pools: Pools, rules: list[Rule], threads: int) -> tuple[float, float]:
    """Seconds on the clock, and of all processors together."""
    began, cpu = time.perf_counter(), time.process_time()
    replay(pools, rules, BUDGETS, RESAMPLES, seed=0, threads=threads)
    return time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    pools = made_up()
    work = PROBLEMS * SAMPLES * RESAMPLES
    together: list[Rule] = [PLAIN, WEIGHTED, ADAPTIVE]
    rows = [
        ("plain", *timed(pools, [PLAIN], threads)),
        ("weighted", *timed(pools, [WEIGHTED], threads)),
        ("adaptive", *timed(pools, [ADAPTIVE], threads)),
    ]
    rounds = [timed(pools, together, threads) for _ in range(3)]
    ours = statistics.median(wall for wall, _ in rounds)
    rows.append(("all three", ours, statistics.median(cpu for _, cpu in rounds)))
    # what getrusage counts is KiB on Linux, bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

    part = pools.take(range(0, PROBLEMS, STRIDE))
    orders = random_orders(SAMPLES, RESAMPLES, seed=0)[:ORDERS]
    scale = work / (len(part) * SAMPLES * len(orders))
    began, used = time.perf_counter(), time.process_time()
    theirs = notebook(part, orders)
    loop, used = (time.perf_counter() - began) * scale, (time.process_time() - used) * scale
    plain, weighted, adaptive = replay(part, together, BUDGETS, orders=orders)
    found = [plain.right, weighted.right, adaptive.right, adaptive.samples, adaptive.tokens]
    same = bool(np.allclose(theirs, found, rtol=1e-12, atol=1e-12))

    print(f"{PROBLEMS} problems x {SAMPLES} samples x {RESAMPLES} resamples, {threads} threads")
    print(f"{'':12s} {'seconds':>9s} {'of CPU':>9s} {'ns a sample':>12s}")
    for name, wall, cpu in [*rows, ("notebook", loop, used)]:
        print(f"{name:12s} {wall:9.2f} {cpu:9.2f} {wall / work * 1e9:12.1f}")
    print(
        f"the notebook does all three, on {len(part)} problems x {len(orders)} orders: x {scale:.0f}"
    )
    print(f"ratio {loop / ours:.0f}, peak memory {peak:.2f} GB, same results: {same}")
    facts = {"seconds": ours, "peak_gb": peak, "ratio_to_notebook": loop / ours, "same": same}
    print(json.dumps({**facts, "target": {"seconds": 10, "peak_gb": 2, "ratio_to_notebook": 100}}))
    if not same:
        sys.exit("the results differ from the notebook's")


if __name__ == "__main__":
    main()
