/**
 * The broker's tables. A message is written once and removed once; where it stands (waiting, or in somebody's hands) is a
 * small row of its own beside it, so that claiming and giving back never write a body again.
 *
 * Keys are integers. The number of a message is used again once all later ones are gone, so what is in hand is named by
 * owner, number and claim: an acknowledgement that is repeated cannot hit another message.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE queues (
     n INTEGER PRIMARY KEY AUTOINCREMENT,
     name TEXT NOT NULL UNIQUE
   ) STRICT;

   CREATE TABLE messages (
     n INTEGER PRIMARY KEY,        -- its place: rises as long as anything waits
     queue INTEGER NOT NULL,       -- queues.n
     rank INTEGER NOT NULL,        -- 255 - priority: the lowest is first
     exchange TEXT NOT NULL,
     properties TEXT NOT NULL,     -- JSON, as headers
     headers TEXT NOT NULL,
     body BLOB NOT NULL
   ) STRICT;

   CREATE TABLE messages_waiting (
     queue INTEGER NOT NULL,
     rank INTEGER NOT NULL,
     n INTEGER NOT NULL,           -- messages.n
     redelivered INTEGER NOT NULL,
     PRIMARY KEY (queue, rank, n)
   ) WITHOUT ROWID, STRICT;

   CREATE TABLE messages_held (
     owner INTEGER NOT NULL,       -- owners.n
     n INTEGER NOT NULL,           -- messages.n
     claim INTEGER NOT NULL,       -- number of the claim, by the owner's own counting
     redelivered INTEGER NOT NULL,
     PRIMARY KEY (owner, n)
   ) WITHOUT ROWID, STRICT;

   CREATE TABLE message_leases (   -- of those who hold messages; it decides where nobody can see whether they live
     owner INTEGER PRIMARY KEY,
     until INTEGER NOT NULL        -- ms since 1970
   ) STRICT;`,
];
