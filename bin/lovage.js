#!/usr/bin/env node
/**
 * The installed command. Plain JavaScript, in syntax that Node 16 reads: whoever has a Node too old for Lovage gets
 * one clear line, and not the syntax error of some file.
 */
import { existsSync } from "node:fs";

const [major, minor] = process.versions.node.split(".").map(Number);
const main = new URL("../dist/cli/main.js", import.meta.url);

if (major < 22 || (major === 22 && minor < 18)) {
  refuse(
    `lovage needs Node.js 22.18 or newer; this is ${process.version} (${process.execPath}). ` +
      "Install a newer Node, or put one first on PATH.",
  );
} else if (!existsSync(main)) {
  refuse(
    "lovage is not built here: dist/cli/main.js is missing. " +
      'Run "npm run build" first, or "npm run lovage -- ARGUMENTS" for the sources as they are.',
  );
} else {
  await import(main.href);
}

/** @param {string} why */
function refuse(why) {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}
