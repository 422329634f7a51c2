/** Preloaded by a test (`--import`): remembers which files the process loads. */
import { registerHooks } from "node:module";

const loaded: string[] = [];
(globalThis as { loadedModules?: string[] }).loadedModules = loaded;
registerHooks({
  load(url, context, nextLoad) {
    loaded.push(url);
    return nextLoad(url, context);
  },
});
