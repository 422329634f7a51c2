/**
 * `rules.ts` said again, in Lua: what becomes of a row, decided where it is written down. Only which state and which rule; the words
 * for it are put together in TypeScript, by `rules.ts` itself (`rows.ts`). The conformance suite and the model test hold the two together.
 */

/** Why a row ended as it did, as it is kept: one of these and a text of the caller's, or a text alone. */
export const REASONS = { due: 1, crash: 2, loss: 3, unwanted: 4, cancelled: 5, overlap: 6 } as const;

/** What a lost hint may cost is not yet a misfire: as in `rules.ts`. */
const PUNCTUAL_MS = 1_000;
/** A held occurrence is looked at again after so long: as in `rules.ts`. */
const HOLD_MS = 1_000;

export const rules = `
local SUCCEEDED, FAILED, DEAD, CANCELLED, STOPPED, EXPIRED, SKIPPED = 3, 4, 5, 6, 7, 8, 9
local SKIP_WHEN_LATE, FAIL_WHEN_LOST = 1, 2
local CRASH_LIMIT, LOST_LIMIT, KEEP, KEEP_KEYED = 1, 2, 3, 4
local limits

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

local DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
local function id_of(m, r)
  local salt, text = r[SALT], ""
  repeat
    local digit = salt % 36
    text = DIGITS:sub(digit + 1, digit + 1) .. text
    salt = (salt - digit) / 36
  until salt == 0
  return m .. "-" .. text
end

local function is_revoked(task_id)
  local until_ms = call("ZSCORE", base .. "revoked", task_id)
  return until_ms and tonumber(until_ms) > now
end

-- Its end was asked for while it ran: it must not run again.
local function is_unwanted(m, r)
  return r[ABORT] ~= 0 or is_revoked(r[TASK_ID] or id_of(m, r))
end

-- Each answers the state that the row comes to, and why; nil: it is to be claimed.
local function fate_when_due(r)
  local first = r[ATTEMPTS] == 0
  if r[EXPIRES] and r[EXPIRES] <= now then return first and EXPIRED or FAILED, {${REASONS.due}} end
  if first and has(r[FLAGS], SKIP_WHEN_LATE) and now - r[DUE] > r[GRACE] + ${PUNCTUAL_MS} then
    return SKIPPED, {${REASONS.due}}
  end
end

-- Of one that is due for the first time. Also HELD, with when it is looked at again, and its grace then.
local HELD = -1
local SKIP_OVERLAPPING, QUEUE_OVERLAPPING = 1, 2
local function fate_of_overlap(r)
  local occurrence = r[OCCURRENCE]
  if not occurrence or r[STATE] ~= SCHEDULED then return end
  local overlap = occurrence[4]
  if overlap ~= SKIP_OVERLAPPING and overlap ~= QUEUE_OVERLAPPING then return end
  if call("SCARD", base .. "started:" .. occurrence[1]) == 0 then return end
  if overlap == SKIP_OVERLAPPING then return SKIPPED, {${REASONS.overlap}} end
  if not has(r[FLAGS], SKIP_WHEN_LATE) then return HELD, now + ${HOLD_MS}, r[GRACE] end
  local until_ms = r[DUE] + r[GRACE]
  if until_ms <= now then return SKIPPED, {${REASONS.overlap}} end
  local due = math.min(now + ${HOLD_MS}, until_ms)
  return HELD, due, until_ms - due
end

local function turn_of_held(r)
  local due = math.min(r[OCCURRENCE][3], r[DUE])
  return due, has(r[FLAGS], SKIP_WHEN_LATE) and r[DUE] + r[GRACE] - due or r[GRACE]
end

local function fate_of_crash(m, r, text)
  if is_unwanted(m, r) then return STOPPED, {${REASONS.unwanted}} end
  if has(r[FLAGS], FAIL_WHEN_LOST) then return FAILED, {${REASONS.crash}, text} end
  if r[CRASHES] >= limits[CRASH_LIMIT] then return DEAD, {${REASONS.crash}, text} end
  return WAITING
end

local function fate_of_loss(m, r, text)
  if is_unwanted(m, r) then return STOPPED, {${REASONS.unwanted}} end
  if has(r[FLAGS], FAIL_WHEN_LOST) then return FAILED, {${REASONS.loss}, text} end
  if r[LOSSES] >= limits[LOST_LIMIT] then return DEAD, {${REASONS.loss}, text} end
  return WAITING
end

local function state_of_released(m, r, outdated)
  local unwanted = is_unwanted(m, r) or (outdated and r[ATTEMPTS] == 0)
  if r[ATTEMPTS] == 0 then return unwanted and CANCELLED or SCHEDULED end
  return unwanted and STOPPED or WAITING
end
`;

/** What is done to a row then. */
export const changes = `
-- What an abort is: 0: nobody asked for it; UNWANTED: its recurrence was cancelled, and it does not run again.
local ASKED, TOLD, UNWANTED = 1, 2, 3

-- The fields that a row has once it was claimed or has ended.
local function widen(r)
  for field = CLAIMED, REASON do
    if r[field] == nil then r[field] = false end
  end
  r[ABORT], r[CRASHES], r[LOSSES] = r[ABORT] or 0, r[CRASHES] or 0, r[LOSSES] or 0
end

local function let_go(m, r)
  if r[ABORT] == ASKED then call("HDEL", base .. "aborts", m) end
  r[ABORT], r[LEASE], r[OWNER], r[CALL] = 0, false, false, false
end

-- Recurrences of which an occurrence has ended that had started, or was given back unstarted.
local freed = {}

local function note_freed(r)
  local occurrence = r[OCCURRENCE]
  if occurrence then freed[occurrence[1]] = true end
end

local function end_row(m, r, state, reason)
  if r[STATE] ~= SCHEDULED then note_freed(r) end
  widen(r)
  leave(m, r)
  let_go(m, r)
  r[STATE], r[ENDED], r[REASON] = state, now, reason or false
  r[FORGET] = now + (r[KEY] and limits[KEEP_KEYED] or limits[KEEP])
  enter(m, r)
end

local function move(m, r, due)
  if r[DUE] ~= due then index_due(m, r, due) end
  r[DUE] = due
end

local function give_back(m, r, state, due)
  leave(m, r)
  let_go(m, r)
  move(m, r, due)
  if state == SCHEDULED then
    r[CLAIMED] = false
    note_freed(r)
  end
  r[STATE] = state
  enter(m, r)
end

local function meet(m, r, state, reason)
  if state == WAITING then give_back(m, r, WAITING, now) else end_row(m, r, state, reason) end
end

-- A scheduled or waiting one is ended. The state that was found.
local function cancel_row(m, r, abort, reason)
  local found = r[STATE]
  if found == SCHEDULED then
    end_row(m, r, CANCELLED, reason)
  elseif found == WAITING then
    end_row(m, r, STOPPED, reason or {${REASONS.cancelled}})
  elseif found == RUNNING and abort and r[ABORT] ~= TOLD then
    r[ABORT] = ASKED
    dirty[m] = true
    call("HSET", base .. "aborts", m, r[OWNER])
    hints[#hints + 1] = {1, 0, ""}
  end
  return found
end

local function set_call(m, r, due, grace)
  leave(m, r)
  move(m, r, due)
  r[GRACE] = grace
  enter(m, r)
end

local function hold(m, r, due, grace)
  set_call(m, r, due, grace)
  call("ZADD", base .. "held:" .. r[OCCURRENCE][1], r[OCCURRENCE][3], m)
end

-- At the end of an operation: what was held by those that it ended has its turn.
local function pass_turns()
  for recurrence in pairs(freed) do
    local m = call("ZRANGE", base .. "held:" .. recurrence, 0, 0)[1]
    if m then
      local r = get(m)
      set_call(m, r, turn_of_held(r))
    end
  end
  freed = {}
end

local function finish()
  pass_turns()
  flush()
end

local function recover(m)
  local r = get(m)
  r[LOSSES] = r[LOSSES] + 1
  meet(m, r, fate_of_loss(m, r, ""))
end

-- The row of a claim, if the claim still holds it. The token decides, never the state alone.
local function held(m, salt, token)
  local r = get(m)
  if r and r[SALT] == salt and r[STATE] == RUNNING and r[TOKEN] == token then return r end
end
`;

/** Finding rows: by id, by key, by task id. */
export const find = `
-- What stands between a text and the number behind it; no text has it.
local NUL = "\\0"

local function number_in(entry)
  return entry:match(".*%z(.*)$")
end

-- The live one that has the key, else the last that had it: the one made last is both.
local function by_key(key)
  local last = call("ZRANGE", base .. "keys", "(" .. key .. "\\1", "[" .. key .. NUL, "BYLEX", "REV", "LIMIT", 0, 1)[1]
  return last and number_in(last)
end

-- Of an id: its number and its salt. Of a key: the key and false.
local function target(name, salt)
  if not salt then
    local m = by_key(name)
    return m, m and get(m)
  end
  local r = get(name)
  if r and r[SALT] == salt then return name, r end
end

-- What was taken over with the task id, oldest first.
local function of_task(task_id)
  local members = {}
  for _, entry in ipairs(call("ZRANGE", base .. "tasks", "[" .. task_id .. NUL, "(" .. task_id .. "\\1", "BYLEX")) do
    members[#members + 1] = number_in(entry)
  end
  load(members)
  return members
end
`;
