// model: fan-out 4 map trees, content-addressed pages, placement counts for blocks AND pages by the DESIGN rule, against brute force
let seed = ((+process.argv[2] || 1) * 2654435761) | 0;
const rnd = (n) => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % n;
};
const F = 4,
  H = 3,
  N = F ** H;
const pages = new Map(); // id -> entries
const put = (e) => {
  if (e.every((x) => x === 0)) return 0;
  const id = 'p' + JSON.stringify(e);
  pages.set(id, e);
  return id;
};
function build(a) {
  let l = a.slice();
  for (let h = 0; h < H; h++) {
    const o = [];
    for (let i = 0; i < l.length; i += F) o.push(put(l.slice(i, i + F)));
    l = o;
  }
  return l[0];
}
const kids = (id) => (id === 0 ? Array(F).fill(0) : pages.get(id));
const cnt = new Map();
const add = (id, d) => {
  if (id === 0 || id === undefined) return;
  const v = (cnt.get(id) || 0) + d;
  if (v < 0) throw Error('negative ' + id);
  if (v) cnt.set(id, v);
  else cnt.delete(id);
};
const MISS = undefined;
let visited = 0;
function addPoint(prev, cur, lvl = H) {
  visited++;
  if (prev === cur) return;
  add(cur, 1);
  if (lvl === 0) return;
  const c = kids(cur === 0 ? 0 : cur),
    p = prev === MISS ? Array(F).fill(MISS) : kids(prev);
  for (let i = 0; i < F; i++) addPoint(p[i], c[i], lvl - 1);
}
function removePoint(prev, k, next, lvl = H) {
  visited++;
  if (k === prev || k === next) return; // nothing ends here
  add(k, -1);
  if (prev !== MISS && prev === next) add(prev, -1);
  if (lvl === 0) return;
  const a = prev === MISS ? Array(F).fill(MISS) : kids(prev),
    b = kids(k),
    c = next === MISS ? Array(F).fill(MISS) : kids(next);
  for (let i = 0; i < F; i++) removePoint(a[i], b[i], c[i], lvl - 1);
}
function insertPoint(prev, k, next, lvl = H) {
  if (k === prev || k === next) return;
  add(k, 1);
  if (prev !== MISS && prev === next) add(prev, 1);
  if (lvl === 0) return;
  const a = prev === MISS ? Array(F).fill(MISS) : kids(prev),
    b = kids(k),
    c = next === MISS ? Array(F).fill(MISS) : kids(next);
  for (let i = 0; i < F; i++) insertPoint(a[i], b[i], c[i], lvl - 1);
}
function brute(chains) {
  const c = new Map();
  const inc = (id) => {
    if (id === 0) return;
    c.set(id, (c.get(id) || 0) + 1);
  };
  for (const ch of chains) {
    const walk = (ids, lvl) => {
      let prev = MISS;
      for (const x of ids) {
        if (x !== prev) inc(x);
        prev = x;
      }
      if (lvl === 0) return;
      const ks = ids.map((x) => kids(x));
      for (let i = 0; i < F; i++)
        walk(
          ks.map((k) => k[i]),
          lvl - 1,
        );
    };
    if (ch.length)
      walk(
        ch.map((p) => p.root),
        H,
      );
  }
  return c;
}
const same = (a, b) => a.size === b.size && [...a].every(([k, v]) => b.get(k) === v);
let steps = 0,
  bad = 0;
const chains = [[], [], []],
  disk = [0, 1, 2].map(() => Array(N).fill(0));
for (let s = 0; s < 4000; s++) {
  const d = rnd(3),
    ch = chains[d];
  const op = rnd(10);
  if (op < 5 || ch.length === 0) {
    const a = disk[d];
    for (let i = rnd(6); i > 0; i--) a[rnd(N)] = rnd(6);
    if (rnd(15) === 0) {
      const z = rnd(N);
      for (let i = z; i < N; i++) a[i] = 0;
    }
    if (rnd(20) === 0) disk[d] = disk[rnd(3)].slice();
    if (rnd(12) === 0 && ch.length) disk[d] = ch[rnd(ch.length)].a.slice(); // restore in place
    const root = build(disk[d]);
    addPoint(ch.length ? ch.at(-1).root : MISS, root);
    ch.push({ root, a: disk[d].slice() });
  } else if (op < 9) {
    const i = rnd(ch.length);
    removePoint(ch[i - 1]?.root, ch[i].root, ch[i + 1]?.root);
    ch.splice(i, 1);
  } else {
    const i = rnd(ch.length);
    const a = disk[d].slice();
    a[rnd(N)] = rnd(6);
    const root = build(a);
    insertPoint(ch[i - 1]?.root, root, ch[i]?.root);
    ch.splice(i, 0, { root, a });
  }
  steps++;
  if (!same(cnt, brute(chains))) {
    bad++;
    console.log('MISMATCH at', s, op);
    break;
  }
}
console.log({ steps, bad, live: cnt.size });
