/**
 * The schedule's tables. An integer is the row's key, because an index on random ids is what holds SQLite at a third of its
 * speed; every other index is partial, so that a plain callback costs one (`by_state`) beside its row.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE namespaces (
     n INTEGER PRIMARY KEY,
     name TEXT NOT NULL UNIQUE
   ) STRICT;

   CREATE TABLE callbacks (
     n INTEGER PRIMARY KEY,
     salt INTEGER NOT NULL,              -- the id is n and salt
     ns INTEGER NOT NULL,
     state INTEGER NOT NULL DEFAULT 0,   -- index in STATE_NAMES
     due INTEGER NOT NULL,               -- all moments: ms since 1970
     token INTEGER NOT NULL DEFAULT 0,
     attempts INTEGER NOT NULL DEFAULT 0,
     crashes INTEGER NOT NULL DEFAULT 0,
     losses INTEGER NOT NULL DEFAULT 0,
     abort INTEGER NOT NULL DEFAULT 0,
     flags INTEGER NOT NULL,
     grace INTEGER NOT NULL,
     retries INTEGER NOT NULL,
     expires INTEGER,
     created INTEGER NOT NULL,
     claimed INTEGER,
     lease INTEGER,                      -- end of the lease of a running one
     owner INTEGER,                      -- owners.n
     ended INTEGER,
     forget INTEGER,                     -- from then on an ended row may be removed
     key TEXT,
     task_id TEXT,                       -- of a message taken over from a broker, with its retries on arrival
     arrived INTEGER,
     queue TEXT NOT NULL,
     task TEXT NOT NULL,
     tags TEXT,                          -- JSON
     reason TEXT,
     more TEXT,                          -- JSON: the message's other fields
     body TEXT                           -- null: in bodies
   ) STRICT;
   CREATE TABLE bodies (n INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;

   CREATE INDEX by_state ON callbacks (ns, state, due);
   CREATE INDEX by_lease ON callbacks (ns, lease) WHERE lease IS NOT NULL;
   CREATE INDEX by_forget ON callbacks (ns, forget) WHERE forget IS NOT NULL;
   CREATE UNIQUE INDEX by_live_key ON callbacks (ns, key) WHERE key IS NOT NULL AND state <= 2;
   CREATE INDEX by_ended_key ON callbacks (ns, key) WHERE key IS NOT NULL AND state > 2;
   CREATE UNIQUE INDEX by_task_id ON callbacks (ns, task_id, arrived) WHERE task_id IS NOT NULL;

   CREATE TABLE tags (                   -- in due order, for lists
     ns INTEGER NOT NULL,
     tag TEXT NOT NULL,
     due INTEGER NOT NULL,
     n INTEGER NOT NULL,
     PRIMARY KEY (ns, tag, due, n)
   ) WITHOUT ROWID, STRICT;

   CREATE TABLE tombstones (             -- revoked task ids
     ns INTEGER NOT NULL,
     task_id TEXT NOT NULL,
     until INTEGER NOT NULL,
     PRIMARY KEY (ns, task_id)
   ) WITHOUT ROWID, STRICT;
   CREATE INDEX by_until ON tombstones (ns, until);

   CREATE TABLE counters (               -- rows in each state
     ns INTEGER NOT NULL,
     state INTEGER NOT NULL,
     n INTEGER NOT NULL,
     PRIMARY KEY (ns, state)
   ) WITHOUT ROWID, STRICT;`,

  `ALTER TABLE callbacks ADD COLUMN recurrence TEXT;    -- of an occurrence: id of its recurrence
   ALTER TABLE callbacks ADD COLUMN generation INTEGER;
   ALTER TABLE callbacks ADD COLUMN nominal INTEGER;
   CREATE UNIQUE INDEX by_occurrence ON callbacks (ns, recurrence, generation, nominal) WHERE recurrence IS NOT NULL;
   CREATE INDEX by_recurrence ON callbacks (ns, recurrence, state, due) WHERE recurrence IS NOT NULL;

   CREATE TABLE recurrences (
     n INTEGER PRIMARY KEY,
     salt INTEGER NOT NULL,              -- the id is n and salt
     ns INTEGER NOT NULL,
     state INTEGER NOT NULL DEFAULT 0,   -- index in RECURRENCE_STATES
     key TEXT,
     definition TEXT NOT NULL,           -- JSON
     fingerprint TEXT NOT NULL,
     generation INTEGER NOT NULL DEFAULT 1,
     next INTEGER,                       -- nominal time of the newest occurrence, while it is active
     started INTEGER NOT NULL DEFAULT 0,
     created INTEGER NOT NULL,
     ended INTEGER,
     forget INTEGER
   ) STRICT;
   CREATE INDEX recurrences_by_state ON recurrences (ns, state);
   CREATE INDEX recurrences_by_next ON recurrences (ns, next) WHERE next IS NOT NULL;
   CREATE INDEX recurrences_by_forget ON recurrences (ns, forget) WHERE forget IS NOT NULL;
   CREATE UNIQUE INDEX recurrences_by_live_key ON recurrences (ns, key) WHERE key IS NOT NULL AND state <= 1;
   CREATE INDEX recurrences_by_ended_key ON recurrences (ns, key) WHERE key IS NOT NULL AND state > 1;

   CREATE TABLE serving (                -- who serves which queues, as announced
     ns INTEGER NOT NULL,
     queue TEXT NOT NULL,                -- '': every one
     owner INTEGER NOT NULL,             -- owners.n
     PRIMARY KEY (ns, queue, owner)
   ) WITHOUT ROWID, STRICT;`,
];
