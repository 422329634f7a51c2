/**
 * The door of every `npm run …` that is TypeScript: `node scripts/start.js scripts/test.ts …`.
 *
 * Plain JavaScript, because a Node too old to run .ts files must still be able to say so. npm puts
 * node_modules/.bin first on PATH, where `npm ci` has laid a Node of its own (the dev dependency `node`), so
 * normally the machine's Node does not matter.
 */
import { pathToFileURL } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const [program] = process.argv.splice(2, 1);

if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `lovage is developed on Node.js 22.18 or newer; this is ${process.version} (${process.execPath}). ` +
      `Run "npm ci" with install scripts allowed: it lays a new enough Node into node_modules/.bin, where npm looks first.`,
  );
  process.exitCode = 1;
} else if (program === undefined) {
  console.error("usage: node scripts/start.js PROGRAM.ts [ARGUMENT ...]");
  process.exitCode = 2;
} else {
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
}
