// random interleavings of sessions, expiry and reclaim. mode naive = DESIGN 3.3/3.4 text; packrecount = mark pack, re-read counts after grace; grace = proposed (mark names the blocks)
function run(mode, seed, steps) {
  let s = seed;
  const rnd = (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
  const K = 6;
  let seq = 0,
    next = 0;
  const copies = new Map();
  /*copyId->{id,marked:seq|0}*/ const count = Array(K).fill(0);
  let sessions = [],
    points = [],
    marks = [];
  const find = (id, unm) => [...copies].some(([c, v]) => v.id === id && (!unm || !v.marked));
  for (let t = 0; t < steps; t++) {
    seq++;
    const op = rnd(10);
    if (op < 2 && sessions.length < 4) sessions.push({ b: seq, use: new Set() });
    else if (op < 5 && sessions.length) {
      const S = sessions[rnd(sessions.length)],
        id = rnd(K);
      const ok =
        mode === 'naive'
          ? find(id) && count[id] > 0 && true
          : find(id, mode === 'grace' || count[id] === 0);
      if (!ok) copies.set(next++, { id, marked: 0 });
      S.use.add(id);
    } else if (op < 7 && sessions.length) {
      const i = rnd(sessions.length),
        S = sessions.splice(i, 1)[0];
      if (rnd(4)) {
        for (const x of S.use) count[x]++;
        points.push(S.use);
      }
    } else if (op < 8 && points.length) {
      for (const x of points.splice(rnd(points.length), 1)[0]) count[x]--;
    } else if (op < 9) {
      if (mode === 'naive') {
        for (const [c, v] of copies) if (count[v.id] === 0) copies.delete(c);
      } else {
        for (const [c, v] of copies)
          if (!v.marked && (mode === 'packrecount' ? rnd(2) : count[v.id] === 0)) v.marked = seq;
      }
    } else if (mode !== 'naive')
      for (const [c, v] of copies)
        if (v.marked && !sessions.some((S) => S.b < v.marked)) {
          if (count[v.id] === 0) copies.delete(c);
          else v.marked = 0;
        }
    for (const p of points) for (const x of p) if (!find(x)) return { mode, seed, lostAt: t };
  }
  return null;
}
for (const mode of ['naive', 'packrecount', 'grace']) {
  let bad = 0,
    first;
  for (let k = 1; k <= 3000; k++) {
    const r = run(mode, k * 7919, 400);
    if (r) {
      bad++;
      first ??= r;
    }
  }
  console.log(mode, 'histories with a lost block:', bad, 'of 3000', first ?? '');
}
