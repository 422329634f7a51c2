import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../../src/kit/clock.ts";
import { openSqliteFile, type SqliteFile } from "../../../src/sqlite/file.ts";
import { ownersTables, sweepOwners } from "../../../src/sqlite/owners.ts";
import { identify, livenessOf } from "../../../src/sqlite/process-identity.ts";
import { atEnd } from "../../support/cleanup.ts";
import { tempDir } from "../../support/temp.ts";

const linux = { skip: process.platform === "linux" ? false : "only Linux tells when a process started" };

test(
  "nothing that a dead process held, under whatever name, is given back before its children have ended",
  linux,
  async (t) => {
    const file = await openSqliteFile(join(await tempDir(t), "owners.db"), { tables: [ownersTables] });
    atEnd(t, () => file.close());
    const parent = spawn(process.execPath, ["-e", "setInterval(() => {}, 60_000)"]);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 60_000)"]);
    atEnd(t, () => void child.kill("SIGKILL"));
    const gone = identify(parent.pid ?? 0);
    const orphan = identify(child.pid ?? 0);
    assert.ok(gone !== undefined && orphan !== undefined);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    const owners = file.use(ownersTables);
    await owners.call("enlist", { ...gone, name: "messages", children: [] });
    await owners.call("enlist", { ...gone, name: "callbacks", children: [[orphan.pid, orphan.started]] });
    const buried: string[] = [];
    const watched = {
      use: (tables: typeof ownersTables) => ({
        call: (op: "list" | "bury" | "forget", params: never) => {
          if (op === "bury") buried.push(`${(params as { name: string }).name}: child ${livenessOf(orphan)}`);
          return file.use(tables).call(op, params);
        },
      }),
    } as unknown as SqliteFile;

    assert.equal(await sweepOwners(watched, systemClock), 2);

    assert.deepEqual(buried, ["messages: child dead", "callbacks: child dead"]);
  },
);
