/**
 * What a terminal or a service manager sends to the whole group is for the worker, which decides when its children end: a
 * warm stop must not cost the runs that it waits for. Nobody is left behind: without its worker a child loses its channel
 * and leaves. Imported first, for the side effect.
 */
for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const) process.on(signal, () => undefined);
