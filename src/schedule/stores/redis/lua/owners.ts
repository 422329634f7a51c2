/**
 * Who is alive, and which queues that serves. A store that cannot see its processes takes one for alive as long as it claims or sweeps;
 * the moments are written again when they are nearly over, and not with each claim.
 */

/** An owner that was silent for so long serves nothing any more. It sweeps each second. */
const ALIVE_MS = 10_000;

export const owners = `
local EVERY_QUEUE = ""

local function queues_or_every(queues)
  return queues and queues or {EVERY_QUEUE}
end

local function serve(queues, until_ms)
  local added = {"GT"}
  for _, queue in ipairs(queues) do
    added[#added + 1] = until_ms
    added[#added + 1] = queue
  end
  if #added > 1 then call("ZADD", base .. "served", unpack(added)) end
end

-- Told by who is left, after one has gone or serves other queues.
local function serve_anew()
  call("DEL", base .. "served")
  local serves = call("HGETALL", base .. "serves")
  for i = 1, #serves, 2 do
    local until_ms = call("ZSCORE", base .. "owners", serves[i])
    if until_ms and tonumber(until_ms) > now then serve(unpacked(serves[i + 1]), until_ms) end
  end
end

local function forget_owner(owner)
  call("ZREM", base .. "owners", owner)
  call("HDEL", base .. "serves", owner)
end

local function keep_alive(owner, queues)
  local until_ms = call("ZSCORE", base .. "owners", owner)
  local left = until_ms and tonumber(until_ms) - now
  -- Never further ahead than it may be: the clock may have been stepped back.
  if left and left > ${ALIVE_MS / 2} and left <= ${ALIVE_MS} then return end
  local served = queues_or_every(queues)
  call("ZADD", base .. "owners", now + ${ALIVE_MS}, owner)
  call("HSET", base .. "serves", owner, pack(served))
  serve(served, now + ${ALIVE_MS})
end
`;

/** Which queues an owner may claim of: its own, and those that no live owner serves. */
export const claimable = `
local function is_served(queue)
  local until_ms = call("ZSCORE", base .. "served", queue)
  return until_ms and tonumber(until_ms) > now or false
end

-- False: what the owner would send on reaches nobody, so it claims of its own queues only.
local sends_on = true

-- The queues whose first is due by then and that the owner may claim of, each with that moment, earliest first.
local function queues_for(queues, until_score, most)
  local own, all_served, found, at = nil, false, {}, 0
  if queues then
    own, all_served = {}, not sends_on or is_served(EVERY_QUEUE)
    for _, queue in ipairs(queues) do own[queue] = true end
  end
  while true do
    local page = math.min(most, 100)
    local heads = call("ZRANGE", base .. "heads", "-inf", until_score, "BYSCORE", "LIMIT", at, page, "WITHSCORES")
    for i = 1, #heads, 2 do
      local queue = heads[i]
      if not own or own[queue] or (not all_served and not is_served(queue)) then
        found[#found + 1] = {queue, tonumber(heads[i + 1])}
        if #found == most then return found end
      end
    end
    if #heads < 2 * page then return found end
    at = at + page
  end
end

local function next_due(queues)
  local first = queues_for(queues, "+inf", 1)[1]
  return first and first[2] or false
end
`;

export const enlist = `
call("SREM", base .. "resigned", p[3])
call("ZREM", base .. "owners", p[3])
keep_alive(p[3], p[4])
serve_anew()
return pack(true)
`;

export const resign = `
call("SADD", base .. "resigned", p[3])
forget_owner(p[3])
serve_anew()
return pack(true)
`;
