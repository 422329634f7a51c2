/**
 * What recurs: definitions, each with the next of its occurrences among the rows. `recurrence-rules.ts` said again, where it decides.
 *
 *   recurrences, templates      hash: number -> the recurrence; the row that its occurrences are made from, with its long body
 *   r-order                     zset by number: all
 *   r-next                      zset: active ones, by when they are to be advanced
 *   r-keys                      zset in the order of its members: "KEY\\0NUMBER"
 *   r-forget                    zset: ended ones, by when they may be removed
 *   r-made                      the number of the last one
 */

/** The fields of a recurrence. What is absent is `false`. */
export const RECURRENCE_COLUMNS = [
  "R_STATE",
  "R_SALT",
  "R_KEY",
  "R_GENERATION",
  "R_NEXT",
  "R_STARTED",
  "R_CREATED",
  "R_ENDED",
  "R_FINGERPRINT",
  "R_DEFINITION",
  "R_OVERLAP",
] as const;

/** In the order of their numbers. */
export const RECURRENCE_STATES = ["active", "paused", "ended"] as const;
export const PUT_RECURRENCE = ["added", "existing", "replaced", "conflict"] as const;
export const CHANGES = ["changed", "unchanged", "ended", "stale"] as const;

const names = RECURRENCE_COLUMNS;
const change = (name: (typeof CHANGES)[number]) => CHANGES.indexOf(name);
const outcome = (name: (typeof PUT_RECURRENCE)[number]) => PUT_RECURRENCE.indexOf(name);

/** What claims and releases need to know of them. */
export const recurring = `
local ${names.join(", ")} = ${names.map((_, i) => i + 1).join(", ")}
local ACTIVE, PAUSED, ENDED_FOR_GOOD = 0, 1, 2

local function get_recurrence(number)
  local bytes = call("HGET", base .. "recurrences", number)
  return bytes and unpacked(bytes)
end

local function write_recurrence(number, c)
  call("HSET", base .. "recurrences", number, pack(c))
end

local function of_occurrence(occurrence)
  local number = occurrence[1]:match("^r%-(%x+)%-")
  return number, get_recurrence(number)
end

-- An occurrence is claimed.
local function note_start(occurrence)
  if not occurrence then return end
  local number, c = of_occurrence(occurrence)
  if c and not c[R_STARTED] then
    c[R_STARTED] = true
    write_recurrence(number, c)
  end
end

-- Whether it belongs to what was replaced or paused.
local function is_outdated(occurrence)
  if not occurrence then return false end
  local _, c = of_occurrence(occurrence)
  return c and (c[R_GENERATION] ~= occurrence[2] or c[R_STATE] == PAUSED)
end

local function forget_recurrences(most)
  local old = call("ZRANGE", base .. "r-forget", "-inf", now, "BYSCORE", "LIMIT", 0, most)
  for _, number in ipairs(old) do
    local c = get_recurrence(number)
    if c and c[R_KEY] then call("ZREM", base .. "r-keys", c[R_KEY] .. NUL .. number) end
    call("HDEL", base .. "recurrences", number)
    call("HDEL", base .. "templates", number)
    call("ZREM", base .. "r-order", number)
    call("ZREM", base .. "r-forget", number)
  end
  return #old
end
`;

/** A plan is {next or false, {nominal, due, expires, skipped when late, grace, salt} …}. */
export const following = `
local function recurrence_target(name, salt)
  if salt then
    local c = get_recurrence(name)
    if c and c[R_SALT] == salt then return name, c end
    return
  end
  local last =
    call("ZRANGE", base .. "r-keys", "(" .. name .. "\\1", "[" .. name .. NUL, "BYLEX", "REV", "LIMIT", 0, 1)[1]
  if last then
    local number = number_in(last)
    return number, get_recurrence(number)
  end
end

local function id_of_recurrence(number, c)
  return "r-" .. id_of(number, {[SALT] = c[R_SALT]})
end

local function set_next(number, c, next_ms)
  c[R_NEXT] = next_ms
  if next_ms then
    call("ZADD", base .. "r-next", next_ms, number)
  else
    call("ZREM", base .. "r-next", number)
  end
end

local function end_recurrence(number, c)
  c[R_STATE], c[R_ENDED] = ENDED_FOR_GOOD, now
  set_next(number, c, false)
  call("ZADD", base .. "r-forget", now + (c[R_KEY] and limits[KEEP_KEYED] or limits[KEEP]), number)
end

local function put_occurrence(template, recurrence, c, occurrence)
  local nominal, due, expires, skip_when_late, grace, salt = unpack(occurrence)
  local m = add({due, template[3], false, 0, false, 0, template[4], template[1], template[2]})
  local r = get(m)
  r[SALT], r[DUE], r[EXPIRES], r[GRACE] = salt, due, expires, grace
  r[FLAGS] = r[FLAGS] + (skip_when_late and SKIP_WHEN_LATE or 0)
  r[OCCURRENCE] = {recurrence, c[R_GENERATION], nominal, c[R_OVERLAP]}
  dirty[m] = true
  index("of:" .. recurrence, m, due)
  call("ZADD", base .. "live:" .. recurrence, nominal, m)
end

-- Be active, with the plan's occurrences; or ended, when there is no further one.
local function follow(number, c, plan)
  local template = unpacked(call("HGET", base .. "templates", number))
  local recurrence = id_of_recurrence(number, c)
  reserve(#plan[2])
  for _, occurrence in ipairs(plan[2]) do put_occurrence(template, recurrence, c, occurrence) end
  c[R_STATE] = ACTIVE
  if plan[1] then set_next(number, c, plan[1]) else end_recurrence(number, c) end
end

local function live_of_recurrence(number, c)
  local members = call("ZRANGE", base .. "live:" .. id_of_recurrence(number, c), 0, -1)
  load(members)
  return members
end

local function cancel_unstarted(number, c, reason)
  for _, m in ipairs(live_of_recurrence(number, c)) do
    local r = get(m)
    if r[STATE] == SCHEDULED then cancel_row(m, r, false, reason) end
  end
end

-- {number, the recurrence} of each.
local function answer_recurrences(numbers)
  local parts = {}
  for _, number in ipairs(numbers) do
    local bytes = call("HGET", base .. "recurrences", number)
    if bytes then parts[#parts + 1] = "\\146" .. pack(number) .. bytes end
  end
  return head_of_list(#parts) .. table.concat(parts)
end
`;

/** {limits, limit of live callbacks, key, on conflict, salt, fingerprint, definition, overlap, template, plan, reason of what it replaces} */
export const putRecurrence = `
limits = p[3]
local max_pending, key, conflict, salt, fingerprint, definition, overlap, template, plan, reason = unpack(p, 4, 13)
local KEEP_OLD, REJECT = 0, 2
local put, number, c
if key then number, c = recurrence_target(key, false) end
if not c or c[R_STATE] == ENDED_FOR_GOOD then
  if max_pending > 0 and live_count() + #plan[2] > max_pending then return pack(false) end
  number = member(call("INCR", base .. "r-made"))
  c = {ACTIVE, salt, key, 1, false, false, now, false, fingerprint, definition, overlap}
  if key then call("ZADD", base .. "r-keys", 0, key .. NUL .. number) end
  call("ZADD", base .. "r-order", tonumber(call("GET", base .. "r-made")), number)
  put = ${outcome("added")}
elseif c[R_FINGERPRINT] == fingerprint or conflict == KEEP_OLD then
  put = ${outcome("existing")}
elseif conflict == REJECT then
  put = ${outcome("conflict")}
else
  cancel_unstarted(number, c, reason)
  c[R_GENERATION] = c[R_GENERATION] + 1
  c[R_FINGERPRINT], c[R_DEFINITION], c[R_OVERLAP] = fingerprint, definition, overlap
  put = ${outcome("replaced")}
end
if put == ${outcome("added")} or put == ${outcome("replaced")} then
  call("HSET", base .. "templates", number, pack(template))
  follow(number, c, plan)
  write_recurrence(number, c)
  finish()
end
return pack({put, number, c[R_SALT], c[R_GENERATION], c[R_NEXT]})
`;

/** {limits, number, salt, generation, next, plan} */
export const advance = `
limits = p[3]
local number, c = recurrence_target(p[4], p[5])
if not c then return pack(false) end
local answer = ${change("stale")}
if c[R_STATE] == ENDED_FOR_GOOD then
  answer = ${change("ended")}
elseif c[R_GENERATION] == p[6] and c[R_NEXT] == p[7] then
  answer = ${change("changed")}
  follow(number, c, p[8])
  write_recurrence(number, c)
  finish()
end
return pack({answer, number, c[R_SALT]})
`;

/** {limits, target, salt, reason} */
export const pause = `
limits = p[3]
local number, c = recurrence_target(p[4], p[5])
if not c then return pack(false) end
local answer = ${change("changed")}
if c[R_STATE] == ENDED_FOR_GOOD then
  answer = ${change("ended")}
elseif c[R_STATE] == PAUSED then
  answer = ${change("unchanged")}
else
  cancel_unstarted(number, c, p[6])
  c[R_STATE] = PAUSED
  set_next(number, c, false)
  write_recurrence(number, c)
  finish()
end
return pack({answer, number, c[R_SALT]})
`;

/** {limits, target, salt, generation, plan} */
export const resume = `
limits = p[3]
local number, c = recurrence_target(p[4], p[5])
if not c then return pack(false) end
local answer = ${change("changed")}
if c[R_STATE] == ENDED_FOR_GOOD then
  answer = ${change("ended")}
elseif c[R_STATE] == ACTIVE then
  answer = ${change("unchanged")}
elseif c[R_GENERATION] ~= p[6] then
  answer = ${change("stale")}
else
  c[R_GENERATION] = c[R_GENERATION] + 1
  follow(number, c, p[7])
  write_recurrence(number, c)
  finish()
end
return pack({answer, number, c[R_SALT]})
`;

/** {limits, target, salt, abort, reason}. Answers the state that was found, whether it had started, whether one of it runs. */
export const cancelRecurrence = `
limits = p[3]
local number, c = recurrence_target(p[4], p[5])
if not c then return pack(false) end
local found, runs = c[R_STATE], false
for _, m in ipairs(live_of_recurrence(number, c)) do
  local r = get(m)
  if r[STATE] == RUNNING then
    runs = true
    if r[ABORT] == 0 then
      r[ABORT] = UNWANTED
      dirty[m] = true
    end
  end
  cancel_row(m, r, p[6], p[7])
end
finish()
if found ~= ENDED_FOR_GOOD then
  end_recurrence(number, c)
  write_recurrence(number, c)
end
return pack({number, c[R_SALT], found, c[R_STARTED], runs})
`;

export const getRecurrence = `
local number, c = recurrence_target(p[3], p[4])
return answer_recurrences(c and {number} or {})
`;

/** {how many}: active ones whose next time has come. */
export const dueRecurrences = `
return answer_recurrences(call("ZRANGE", base .. "r-next", "-inf", now, "BYSCORE", "LIMIT", 0, p[3]))
`;

/** {number behind which, how many}. Whatever their state. */
export const listRecurrences = `
return answer_recurrences(
  call("ZRANGE", base .. "r-order", "(" .. string.format("%.0f", p[3]), "+inf", "BYSCORE", "LIMIT", 0, p[4])
)
`;
