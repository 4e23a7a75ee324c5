#!/usr/bin/env python3
"""Fits the polynomials of Sources/Kernels/ElementaryFunctions.swift: weighted least squares on Chebyshev nodes in 60 digits,
then a few Lawson re-weightings towards the minimax polynomial. Prints the coefficients, lowest power first, as floats.

    python3 fit_polynomials.py        # needs mpmath, numpy
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 60


def fit(f, weight, low, high, powers, rounds=30, nodes=200):
    """Coefficients c minimising max |weight(x) (sum c_i x^powers_i - f(x))| over [low, high]."""
    xs = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * nodes)) for i in range(nodes)]
    fs = [f(x) for x in xs]
    ws = [weight(x) for x in xs]
    lawson = [mp.mpf(1)] * nodes
    best = None
    for _ in range(rounds):
        a = mp.matrix(nodes, len(powers))
        b = mp.matrix(nodes, 1)
        for i in range(nodes):
            s = mp.sqrt(lawson[i]) * ws[i]
            for j, p in enumerate(powers):
                a[i, j] = s * xs[i] ** p
            b[i] = s * fs[i]
        c = mp.lu_solve(a.T * a, a.T * b)
        errors = [abs(ws[i] * (sum(c[j] * xs[i] ** p for j, p in enumerate(powers)) - fs[i])) for i in range(nodes)]
        worst = max(errors)
        if best is None or worst < best[0]:
            best = (worst, list(c))
        total = sum(l * e for l, e in zip(lawson, errors))
        lawson = [l * e / total * nodes for l, e in zip(lawson, errors)]
    return best


def show(name, result):
    print(f"{name}: worst weighted error {mp.nstr(result[0], 3)}")
    print("  ", ", ".join(repr(float(np.float32(float(c)))) for c in result[1]))


ln2 = mp.log(2)
# exp(r) = 1 + r + r^2 * P(r) for |r| <= ln 2 / 2
show("exp tail", fit(lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r**2 / mp.exp(r), -ln2 / 2, ln2 / 2, range(5)))
# erf(x) = x * P(x^2) for |x| <= 1
show("erf small, in x^2", fit(lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(s), lambda s: mp.sqrt(s) / mp.erf(mp.sqrt(s)), mp.mpf("1e-12"), mp.mpf(1), range(7)))
# erfc(x) = exp(-x * P(x)) for 1 <= x <= 4.1, where 1 - erf is below half an ulp of 1
show("log erfc", fit(lambda x: -mp.log(mp.erfc(x)) / x, lambda x: x * mp.erfc(x), mp.mpf(1), mp.mpf("4.1"), range(8)))
# tanh(x) = x + x^3 * P(x^2) for |x| <= 0.625
show("tanh, in x^2", fit(lambda s: (mp.tanh(mp.sqrt(s)) / mp.sqrt(s) - 1) / s, lambda s: s * mp.sqrt(s) / mp.tanh(mp.sqrt(s)), mp.mpf("1e-9"), mp.mpf("0.625") ** 2, range(5)))
# log(1 + t) = t * P(t) for 0.75 <= 1 + t < 1.5; sin(2 pi x) = x * P(x^2) and cos(2 pi x) = P(x^2) for |x| <= 1/2
show("log", fit(lambda t: mp.log(1 + t) / t if t else mp.mpf(1), lambda t: abs(t), mp.mpf("-0.25"), mp.mpf("0.5"), range(9)))
show("sine of a turn", fit(lambda s: mp.sin(2 * mp.pi * mp.sqrt(s)) / mp.sqrt(s), lambda s: mp.sqrt(s), mp.mpf("1e-12"), mp.mpf("0.25"), range(7)))
show("cosine of a turn", fit(lambda s: mp.cos(2 * mp.pi * mp.sqrt(s)), lambda s: 1, mp.mpf("1e-12"), mp.mpf("0.25"), range(8)))
