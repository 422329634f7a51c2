/**
 * What every script begins with: the keys of a namespace, the clock, and the table of rows with its indexes, in Lua.
 *
 * A row is a MessagePack array in the hash `rows`; where each field stands is said once, in `COLUMNS`, for both languages. Changes are
 * gathered while a script runs, and written when it ends, in a few commands with many members each (`flush`): a command out of Lua costs
 * more than what it does.
 *
 * Keys, all under one hash tag, so that they live on one node of a Cluster:
 *
 *   rows, bodies    hash: number of the row -> the row; bodies too long to be written again with each change of their row
 *   due:QUEUE       zset by due time: what is scheduled or waits
 *   heads           zset: queue -> when its first is due
 *   in:STATE        zset by due time: what waits (1), runs (2), has ended (3 …); what is scheduled is in none
 *   leases          zset by the lease's end: what runs, "NUMBER:OWNER"
 *   forget          zset: what has ended, by when it may be removed
 *   keys, tasks     zset in the order of its members: "KEY\\0NUMBER", "TASKID\\0NUMBER"
 *   tag:TAG         zset by due time
 *   of:RECURRENCE   zset by due time: its occurrences
 *   live:RECURRENCE, held:RECURRENCE   zset by nominal time: those that have not ended; those that wait for an earlier one
 *   started:RECURRENCE                 set: those that have started and not ended
 *   revoked         zset: task id -> until when its tombstone stands
 *   aborts          hash: number of a row that is to be aborted -> its owner
 *   owners, served  zset: owner, queue ("": every queue) -> until when it is alive, is served
 *   serves          hash: owner -> its queues
 *   resigned        set of owners
 *   made            the number of the last row
 *   schema          the version of all this
 *   recurrences, templates, r-…   what recurs: recurrences.ts
 *
 * A row's number is written in hexadecimal behind the count of its digits: so texts sort as the numbers do, which is how a zset
 * orders members of one score.
 */

/** The fields of a row. What is absent is `false`; from CLAIMED on a row that was never claimed and has not ended has none. */
export const COLUMNS = [
  "STATE",
  "SALT",
  "DUE",
  "TOKEN",
  "ATTEMPTS",
  "FLAGS",
  "GRACE",
  "EXPIRES",
  "KEY",
  "TASK_ID",
  "ARRIVED",
  "QUEUE",
  "TAGS",
  "TASK",
  "RETRIES",
  "MORE",
  "BODY",
  "OCCURRENCE",
  "CREATED",
  "CLAIMED",
  "LEASE",
  "OWNER",
  "CALL",
  "ABORT",
  "CRASHES",
  "LOSSES",
  "ENDED",
  "FORGET",
  "REASON",
] as const;

/** How many fields a row has when it is put. The last of them, CREATED, is the script's to say. */
export const PUT_COLUMNS = COLUMNS.indexOf("CREATED") + 1;

const columns = `local ${COLUMNS.join(", ")} = ${COLUMNS.map((_, i) => i + 1).join(", ")}`;

export const table = `
local call, pack, unpacked = redis.call, cmsgpack.pack, cmsgpack.unpack
local base = KEYS[1] .. ":"
local p = unpacked(ARGV[1])
local now, me = p[1], p[2]
if not now then
  local time = call("TIME")
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
${columns}
local SCHEDULED, WAITING, RUNNING = 0, 1, 2
local ROWS, BODIES = base .. "rows", base .. "bodies"

local function member(n)
  local digits = string.format("%x", n)
  return string.format("%x", #digits) .. digits
end

-- Rows: read once, changed in place, written at the end.
local rows, dirty, raw, bodies, written = {}, {}, {}, {}, {}

local function load(members)
  local missing = {}
  for _, m in ipairs(members) do
    if rows[m] == nil and not raw[m] then missing[#missing + 1] = m end
  end
  for i = 1, #missing, 500 do
    local last = math.min(i + 499, #missing)
    local found = call("HMGET", ROWS, unpack(missing, i, last))
    for j = i, last do
      local bytes = found[j - i + 1]
      rows[missing[j]] = bytes and unpacked(bytes)
    end
  end
end

local function get(m)
  if rows[m] == nil then
    local bytes = raw[m] or call("HGET", ROWS, m)
    rows[m] = bytes and unpacked(bytes)
  end
  return rows[m] or nil
end

-- Sorted sets: the last word about a member counts; false takes it out.
local zsets = {}

local function index(key, m, score)
  local z = zsets[key]
  if not z then
    z = {}
    zsets[key] = z
  end
  z[m] = score
end

local touched = {}

local function index_due(m, r, score)
  for _, tag in ipairs(r[TAGS]) do index("tag:" .. tag, m, score) end
  local occurrence = r[OCCURRENCE]
  if occurrence then index("of:" .. occurrence[1], m, score) end
end

-- Take the row out of the indexes of its state, and put it into those of the one that it has then.
local function leave(m, r)
  local state = r[STATE]
  if state <= WAITING then
    index("due:" .. r[QUEUE], m, false)
    touched[r[QUEUE]] = true
  end
  if state ~= SCHEDULED then index("in:" .. state, m, false) end
  if state == RUNNING then index("leases", m .. ":" .. r[OWNER], false) end
  local occurrence = r[OCCURRENCE]
  if not occurrence then return end
  if state == SCHEDULED then
    call("ZREM", base .. "held:" .. occurrence[1], m)
  elseif state <= RUNNING then
    call("SREM", base .. "started:" .. occurrence[1], m)
  end
end

local function enter(m, r)
  local state = r[STATE]
  if state <= WAITING then
    index("due:" .. r[QUEUE], m, r[DUE])
    touched[r[QUEUE]] = true
  end
  if state ~= SCHEDULED then index("in:" .. state, m, r[DUE]) end
  if state == RUNNING then index("leases", m .. ":" .. r[OWNER], r[LEASE]) end
  if state > RUNNING then index("forget", m, r[FORGET]) end
  dirty[m] = true
  local occurrence = r[OCCURRENCE]
  if not occurrence or state == SCHEDULED then return end
  if state <= RUNNING then
    call("SADD", base .. "started:" .. occurrence[1], m)
  else
    call("ZREM", base .. "live:" .. occurrence[1], m)
  end
end

local hints = {}

local function write_zset(key, z)
  local name, added, gone = base .. key, {}, {}
  for m, score in pairs(z) do
    if score then
      added[#added + 1] = score
      added[#added + 1] = m
    else
      gone[#gone + 1] = m
    end
  end
  for i = 1, #gone, 1000 do call("ZREM", name, unpack(gone, i, math.min(i + 999, #gone))) end
  for i = 1, #added, 1000 do call("ZADD", name, unpack(added, i, math.min(i + 999, #added))) end
end

local function write_hash(name, fields)
  for i = 1, #fields, 1000 do call("HSET", name, unpack(fields, i, math.min(i + 999, #fields))) end
end

local function hint_due(queue, due)
  hints[#hints + 1] = {0, due, queue}
end

-- When the first of a queue has become another one, and when that is earlier: somebody's timer is set too late.
local function note_head(queue)
  local first = call("ZRANGE", base .. "due:" .. queue, 0, 0, "WITHSCORES")[2]
  local before = call("ZSCORE", base .. "heads", queue)
  if first == before then return end
  if not first then
    call("ZREM", base .. "heads", queue)
    return
  end
  call("ZADD", base .. "heads", first, queue)
  if not before or tonumber(first) < tonumber(before) then hint_due(queue, tonumber(first)) end
end

-- The same when something was only added.
local earliest = {}

local function note_added(queue, due)
  local before = call("ZSCORE", base .. "heads", queue)
  if before and tonumber(before) <= due then return end
  call("ZADD", base .. "heads", due, queue)
  hint_due(queue, due)
end

local function flush()
  local fields, long = {}, {}
  for m in pairs(dirty) do
    raw[m] = pack(rows[m])
  end
  for m, bytes in pairs(raw) do
    fields[#fields + 1] = m
    fields[#fields + 1] = bytes
    written[m] = bytes
  end
  write_hash(ROWS, fields)
  for m, body in pairs(bodies) do
    if body then
      long[#long + 1] = m
      long[#long + 1] = body
    else
      call("HDEL", BODIES, m)
    end
  end
  write_hash(BODIES, long)
  for key, z in pairs(zsets) do write_zset(key, z) end
  for queue in pairs(touched) do note_head(queue) end
  for queue, due in pairs(earliest) do
    if not touched[queue] then note_added(queue, due) end
  end
  for _, hint in ipairs(hints) do call("PUBLISH", base .. "changes", pack({me, hint[1], hint[2], hint[3]})) end
  raw, dirty, bodies, zsets, touched, earliest, hints = {}, {}, {}, {}, {}, {}, {}
end
`;

/** Answers made of rows: they are put together as they are kept, and not taken apart. */
export const answers = `
local function head_of_list(length)
  if length < 16 then return string.char(144 + length) end
  return string.char(220, math.floor(length / 256), length % 256)
end

-- Each as {number, row, long body or false}. The rows are those that were written last: flush first.
local function answer_rows(members)
  local parts = {head_of_list(#members)}
  for i, m in ipairs(members) do
    local body = get(m)[BODY] == false and call("HGET", BODIES, m)
    parts[i + 1] = "\\147" .. pack(m) .. (written[m] or call("HGET", ROWS, m)) .. pack(body)
  end
  return table.concat(parts)
end

-- Without long bodies.
local function answer_heads(members)
  if #members == 0 then return head_of_list(0) end
  local parts = {head_of_list(#members)}
  for i, bytes in ipairs(call("HMGET", ROWS, unpack(members))) do
    parts[#parts + 1] = "\\147" .. pack(members[i]) .. bytes .. pack(false)
  end
  return table.concat(parts)
end
`;
