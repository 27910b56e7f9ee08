"""How far does a coverage law see?  pass@10,000 from the first 100 samples of each problem, on fly-xs.

    python benchmarks/far_coverage.py [--problems 12] [--samples 10000] [--out FOLDER]

The problems are chains of 12 steps with values up to 700, of which fly-xs solves few: at 100 samples a part
of them is unsolved.  Both laws of ``outthink.laws.coverage`` are fitted to the first 100 samples and set
against what the rest shows.  Resumes in the folder; about half an hour on a free core.
"""

from __future__ import annotations

import argparse

from outthink.lab.bench import bench
from outthink.lab.design import Design
from outthink.lab.recorded import from_results
from outthink.laws.coverage import fit_beta_binomial, fit_power_law
from outthink.select.coverage import pass_at_k


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--problems", type=int, default=12)
    given.add_argument("--samples", type=int, default=10_000)
    given.add_argument("--first", type=int, default=100)
    given.add_argument("--out", default="out/far_coverage")
    asked = given.parse_args()
    strategy = f"self_consistency(n={asked.samples})"
    results = bench(
        Design(
            f"fly:chain(steps=12,top=700),n={asked.problems}",
            ("fly-xs",),
            (strategy,),
            width=1,
        ),
        asked.out,
        progress=lambda p: print(f"{p.done} of {p.total} problems", flush=True),
    )
    pools = from_results(results, strategy)
    few = pools.first(asked.first)
    print("right among the first, and among all:", few.correct.tolist(), pools.correct.tolist())
    ks = [k for k in (1, 10, 100, 1000, 10_000) if k <= asked.samples]
    laws = {
        "power law": fit_power_law(few),
        "beta-binomial": fit_beta_binomial(few),
        "beta-binomial with zero": fit_beta_binomial(few, zero=True),
    }
    print(f"{'k':>7} {'observed':>9}", *(f"{name:>32}" for name in laws))
    for k in ks:
        seen = [pass_at_k(asked.samples, int(c), k) for c in pools.correct]
        told = [law.predict([k]) for law in laws.values()]
        cells = [f"{t.value[0]:.3f} ({t.low[0]:.3f} to {t.high[0]:.3f})" for t in told]
        print(f"{k:>7} {sum(seen) / len(seen):>9.3f}", *(f"{cell:>32}" for cell in cells))


if __name__ == "__main__":
    main()
