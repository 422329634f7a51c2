import assert from "node:assert/strict";
import { appendFile, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ChangeWatch } from "../../../src/sqlite/watch.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { atEnd } from "../../support/cleanup.ts";
import { tempDir } from "../../support/temp.ts";

/** A watch of a file that need not be there: what its data version is, the test says. */
class Watched {
  readonly clock = new FakeClock();
  readonly path: string;
  readonly watch: ChangeWatch;
  readonly notes: string[] = [];
  version: number | undefined = 1;
  /** How often a change was told. */
  told = 0;
  #looked: () => void = () => undefined;

  constructor(path: string) {
    this.path = path;
    this.watch = new ChangeWatch(
      path,
      () => {
        this.#looked();
        return this.version;
      },
      () => {
        this.told += 1;
      },
      (note) => this.notes.push(note),
      this.clock,
    );
  }

  /** Resolves when the watch looks at the version. */
  look(): Promise<void> {
    return new Promise((resolve) => {
      this.#looked = resolve;
    });
  }

  /** Write to a file beside it, or to it, and wait until the watch has looked. */
  async write(suffix: string): Promise<void> {
    const looked = this.look();
    await appendFile(`${this.path}${suffix}`, "x");
    await looked;
  }
}

async function watched(t: TestContext, name = "watched.db"): Promise<Watched> {
  const it = new Watched(join(await tempDir(t), name));
  atEnd(t, () => it.watch.stop());
  return it;
}

test("a commit that can be seen with the write is told at once", async (t) => {
  const it = await watched(t);
  it.watch.start();

  it.version = 2;
  await it.write("-wal");

  assert.equal(it.told, 1);
});

test("a commit that can be seen only after its fsync is told by one of the looks that follow the write", async (t) => {
  for (const [suffix, afterMs] of [
    ["", 2],
    ["-wal", 30],
    ["-wal", 254],
  ] as const) {
    const it = await watched(t);
    it.watch.start();
    await it.write(suffix);

    await it.clock.advance(afterMs / 2);
    it.version = 2;
    await it.clock.advance(afterMs / 2 + 256);

    assert.equal(it.told, 1, `visible after ${afterMs} ms`);
    it.watch.stop();
  }
});

test("a write that changes no version of others, as our own, tells nothing", async (t) => {
  const it = await watched(t);
  it.watch.start();

  await it.write("-wal");
  await it.clock.advance(5_000);

  assert.equal(it.told, 0);
});

test("changes that follow one another closely are told together, the last one too", async (t) => {
  const it = await watched(t);
  it.watch.start();

  for (let version = 2; version <= 50; version += 1) {
    it.version = version;
    it.watch.check();
  }
  assert.equal(it.told, 1);
  await it.clock.advance(10);
  assert.equal(it.told, 2);
  await it.clock.advance(100);

  assert.equal(it.told, 2);
});

test("where no event comes, a change is seen within a second", async (t) => {
  const it = await watched(t);
  it.watch.start();

  it.version = 2;
  await it.clock.advance(999);
  assert.equal(it.told, 0);
  await it.clock.advance(1);

  assert.equal(it.told, 1);
});

test("a log that was removed and made again is still watched", async (t) => {
  const it = await watched(t);
  await writeFile(`${it.path}-wal`, "old");
  it.watch.start();
  const looked = it.look();
  await rename(`${it.path}-wal`, `${it.path}-gone`);
  await looked;

  it.version = 2;
  await it.write("-wal");

  assert.equal(it.told, 1);
});

test("a directory that cannot be watched is said, and looked at every second", async (t) => {
  const folder = join(await tempDir(t), "missing");
  const it = new Watched(join(folder, "watched.db"));
  atEnd(t, () => it.watch.stop());

  it.watch.start();
  it.version = 2;
  await it.clock.advance(1_000);
  await mkdir(folder);

  assert.equal(it.notes.length, 1);
  assert.match(it.notes[0] ?? "", /missing cannot be watched .* within 1 s only$/);
  assert.equal(it.told, 1);
});

test("a file without a connection is asked again later, and misses nothing", async (t) => {
  const it = await watched(t);
  it.watch.start();

  it.version = undefined;
  await it.clock.advance(3_000);
  assert.equal(it.told, 0);
  it.version = 2;
  await it.clock.advance(1_000);

  assert.equal(it.told, 1);
});

test("a watch that was stopped tells nothing, and one that starts again does not tell of what came between", async (t) => {
  const it = await watched(t);
  it.watch.start();
  it.watch.start();
  it.watch.stop();
  it.watch.stop();
  it.version = 2;
  it.watch.check();
  await it.clock.advance(10_000);
  assert.equal(it.clock.pending, 0);

  it.watch.start();
  it.watch.check();
  assert.equal(it.told, 0);
  it.version = 3;
  it.watch.check();

  assert.equal(it.told, 1);
});
