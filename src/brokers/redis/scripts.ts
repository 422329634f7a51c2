/**
 * What must be one step in Redis, in Lua. A script takes messages from their lists and records that they are in hand, settles them, keeps
 * their marks fresh, or gives back what nobody holds any more. Each leaves kombu's layout as kombu would, so that a Python worker may do
 * the next step.
 *
 * `unacked_index` holds, for each message in hand, the moment of the last sign of life of who holds it, in seconds. That number is also
 * how a holder knows its own: nobody else writes the same. So what was restored by another, and taken by a third, is not acknowledged by
 * the first.
 *
 * A message is recorded before it leaves its list: a command that Redis refuses (out of memory) must refuse the first change, not the
 * second.
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** By name; for servers of version 7 with leave to run while memory is short: all of these move or remove, none adds. */
export interface Scripts {
  readonly take: Script;
  readonly settle: Script;
  readonly refresh: Script;
  readonly expired: Script;
  readonly restore: Script;
  readonly retract: Script;
  readonly unlock: Script;
  readonly adopt: Script;
}

/**
 * KEYS: unacked, unacked_index, then for each step the list of each queue, then where too large items of each are put aside. ARGV: how
 * many at most; the moment; the beginning of tags of our own making; bytes at most in all; bytes at most of one; "1" to go round, else in
 * order; "1" to record, else to take for good; then the queues' names.
 *
 * Answers the items [list's number, tag, envelope]; lists that are none [key, error]; what was put aside [key, bytes].
 */
const TAKE = `
local unacked, index = KEYS[1], KEYS[2]
local want, moment, mark = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local most, most_each, round, record = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7] == '1'
local queues = #ARGV - 7
local steps = (#KEYS - 2) / queues - 1
local items, wrong, aside, done, order, bytes = {}, {}, {}, {}, {}, 0
for q = 1, queues do order[q] = q end

local function table_or_nil(v) return v == nil or type(v) == 'table' end
local function text(v) if type(v) == 'string' then return v end end
local function is_utf8(s)
  if not string.find(s, '[\\128-\\255]') then return true end
  for _, form in ipairs({'[\\194-\\223][\\128-\\191]', '[\\224-\\239][\\128-\\191][\\128-\\191]', '[\\240-\\244][\\128-\\191][\\128-\\191][\\128-\\191]'}) do
    s = string.gsub(s, form, ' ')
  end
  return not string.find(s, '[\\128-\\255]')
end

-- The publisher's tag, and what unacked holds. An item that kombu cannot give back as it stands is wrapped.
local function recorded(raw, queue, own)
  local ok, m = pcall(cjson.decode, raw)
  if ok and type(m) == 'table' and string.find(raw, '^%s*{') and is_utf8(raw) and table_or_nil(m.headers) and table_or_nil(m.properties) then
    local p = m.properties or {}
    if table_or_nil(p.delivery_info) then
      local info = p.delivery_info or {}
      local tag = text(p.delivery_tag)
      if not tag or tag == '' or redis.call('HEXISTS', unacked, tag) == 1 then tag = own end
      local exchange, key = text(info.exchange) or '', text(info.routing_key) or queue
      return tag, '[' .. raw .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(key) .. ']'
    end
  end
  local body = string.gsub(cjson.encode(raw), '[\\128-\\255]', function(c) return string.format('\\\\u%04x', string.byte(c)) end)
  return own, '[{"body": ' .. body .. ', "content-encoding": "binary", "content-type": "application/x-lovage-foreign-item", "headers": {}, '
    .. '"properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": ' .. cjson.encode(queue) .. '}, "priority": 0, '
    .. '"body_encoding": null, "delivery_tag": ' .. cjson.encode(own) .. '}}, "", ' .. cjson.encode(queue) .. ']'
end

-- True when the list gave something.
local function take(q, key, number)
  local raw = redis.pcall('LINDEX', key, -1)
  if type(raw) == 'table' then
    wrong[#wrong + 1] = {key, raw.err}
    raw = false
  end
  if not raw then
    done[key] = true
    return false
  end
  if #raw > most_each then
    local apart = KEYS[2 + steps * queues + q]
    redis.call('RPUSH', apart, raw)
    redis.call('RPOP', key)
    aside[#aside + 1] = {apart, #raw}
    return true
  end
  local tag = ''
  if record then
    local own = mark .. ':' .. (#items + 1)
    local value
    tag, value = recorded(raw, ARGV[7 + q], own)
    redis.call('HSET', unacked, tag, value)
    redis.call('ZADD', index, moment, tag)
  end
  redis.call('RPOP', key)
  items[#items + 1] = {number, tag, raw}
  bytes = bytes + #raw
  return true
end

local function next_one()
  for s = 0, steps - 1 do
    for i = 1, queues do
      local q = order[i]
      local number = s * queues + q
      local key = KEYS[2 + number]
      if not done[key] and take(q, key, number) then
        if round then
          table.remove(order, i)
          order[queues] = q
        end
        return true
      end
    end
  end
  return false
end

while #items < want and bytes < most and #aside < want do
  if not next_one() then break end
end
return {items, wrong, aside}`;

/**
 * KEYS: unacked, unacked_index, then lists. ARGV, for each message: its tag; the moment that we gave it, and the one before that; the number of
 * the list that it goes back to, 0 for none; the text that goes there. Answers the numbers of those that were not ours any more: nothing was done.
 */
const SETTLE = `
local gone = {}
for i = 1, #ARGV, 5 do
  local score = redis.call('ZSCORE', KEYS[2], ARGV[i])
  local now = score and tonumber(score)
  local ours = now and (now == tonumber(ARGV[i + 1]) or now == tonumber(ARGV[i + 2]))
  local list = tonumber(ARGV[i + 3])
  -- A list that takes nothing (another program's key) leaves the message recorded, to be given back later.
  if ours and list > 0 then ours = type(redis.pcall('RPUSH', KEYS[2 + list], ARGV[i + 4])) == 'number' end
  if ours then
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    gone[#gone + 1] = (i - 1) / 5
  end
end
return gone`;

/** KEYS: unacked_index. ARGV: the new moment, then tag, moment, and the one before that of each. Answers the numbers of those that were not ours any more. */
const REFRESH = `
local gone = {}
for i = 2, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  local now = score and tonumber(score)
  if now and (now == tonumber(ARGV[i + 1]) or now == tonumber(ARGV[i + 2])) then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
  else
    gone[#gone + 1] = (i - 2) / 3
  end
end
return gone`;

/**
 * KEYS: unacked, unacked_index, unacked_mutex. ARGV: token, ms that the lock may last; the moment before which a sign of life is too old; how many
 * to pass over, and how many at most. Answers false when another holds the lock; else [tag, moment, record or false] of each, the youngest first,
 * as kombu goes about it. A lock without an end, which nobody can have meant, is given one.
 */
const EXPIRED = `
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[1] then
  if redis.call('PTTL', KEYS[3]) == -1 then redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
  return false
end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[2], ARGV[3], 0, 'WITHSCORES', 'LIMIT', ARGV[4], ARGV[5])
local out = {}
for i = 1, #found, 2 do
  out[#out + 1] = {found[i], found[i + 1], redis.call('HGET', KEYS[1], found[i])}
end
return out`;

/**
 * KEYS: unacked, unacked_index, then lists. ARGV, for each message: its tag, the moment that it had; how many lists, their numbers; the text.
 * Nothing for one that was settled or refreshed meanwhile. Answers how many went back.
 */
const RESTORE = `
local count, i = 0, 1
while i <= #ARGV do
  local tag, moment, lists = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local score = redis.call('ZSCORE', KEYS[2], tag)
  if score and tonumber(score) == tonumber(moment) then
    local given = 0
    for l = 1, lists do
      if type(redis.pcall('RPUSH', KEYS[2 + tonumber(ARGV[i + 2 + l])], ARGV[i + 3 + lists])) == 'number' then given = given + 1 end
    end
    if given > 0 or lists == 0 then
      redis.call('ZREM', KEYS[2], tag)
      redis.call('HDEL', KEYS[1], tag)
    end
    if given > 0 then count = count + 1 end
  end
  i = i + 4 + lists
end
return count`;

/**
 * A message that we are done with was given back by somebody else: while it waits, it can still be taken out. KEYS: its list. ARGV: its tag, its
 * body as the envelope has it, how far to look from the end that is read next. Answers 1 if it was there.
 */
const RETRACT = `
for at = -1, -tonumber(ARGV[3]), -1 do
  local raw = redis.call('LINDEX', KEYS[1], at)
  if not raw then return 0 end
  if string.find(raw, ARGV[1], 1, true) then
    local ok, m = pcall(cjson.decode, raw)
    if ok and type(m) == 'table' and type(m.properties) == 'table' and m.properties.delivery_tag == ARGV[1] and m.body == ARGV[2] then
      return redis.call('LREM', KEYS[1], -1, raw)
    end
  end
end
return 0`;

/** KEYS: unacked_mutex. ARGV: token. As redis-py gives a lock back. */
const UNLOCK = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

/** KEYS: unacked, unacked_index. ARGV: the moment, then tags: records that no index knows get one, so that they come back in their time. */
const ADOPT = `
local count = 0
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('ZADD', KEYS[2], ARGV[1], ARGV[i])
    count = count + 1
  end
end
return count`;

const TEXTS = {
  take: TAKE,
  settle: SETTLE,
  refresh: REFRESH,
  expired: EXPIRED,
  restore: RESTORE,
  retract: RETRACT,
  unlock: UNLOCK,
  adopt: ADOPT,
} as const satisfies { readonly [Name in keyof Scripts]: string };

/** @param major version of the server: from 7 on a script may say that it runs while memory is short */
export function scriptsFor(major: number): Scripts {
  const first = major >= 7 ? "#!lua flags=allow-oom" : "";
  const scripts = Object.entries(TEXTS).map(([name, text]) => [name, script(`${first}${text}`)] as const);
  return Object.fromEntries(scripts) as unknown as Scripts;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
