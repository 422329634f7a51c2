/** Giving back what dead or stalled owners hold, and removing what is past its time; a few of each. */

/** How many leases are looked at for those of owners that have resigned. */
const LEASES = 10_000;

/** Answers what was given back or ended, how many rows and recurrences were removed, and how many owners share the work. */
export const sweep = `
local owner, limit = p[3], p[4]
limits = p[5]
local recovered = {}

local function leases_lost()
  local resigned = call("SMEMBERS", base .. "resigned")
  if #resigned == 0 then return call("ZRANGE", base .. "leases", "-inf", now, "BYSCORE", "LIMIT", 0, limit) end
  local gone, holds, lost = {}, {}, {}
  for _, each in ipairs(resigned) do gone[each] = true end
  local all = call("ZRANGE", base .. "leases", 0, ${LEASES - 1}, "WITHSCORES")
  for i = 1, #all, 2 do
    local lease, until_ms = all[i], tonumber(all[i + 1])
    local holder = lease:match(":(.*)$")
    if gone[holder] or until_ms <= now then
      if #lost < limit then lost[#lost + 1] = lease else holds[holder] = true end
    end
  end
  -- One that holds nothing any more need not be remembered.
  for _, each in ipairs(resigned) do
    if #all < ${2 * LEASES} and not holds[each] then call("SREM", base .. "resigned", each) end
  end
  return lost
end

local function remove(m)
  local r = get(m)
  index("in:" .. r[STATE], m, false)
  index("forget", m, false)
  index_due(m, r, false)
  if r[KEY] then index("keys", r[KEY] .. NUL .. m, false) end
  if r[TASK_ID] then index("tasks", r[TASK_ID] .. NUL .. m, false) end
  if r[BODY] == false then call("HDEL", BODIES, m) end
end

local function forget_old()
  local old = call("ZRANGE", base .. "forget", "-inf", now, "BYSCORE", "LIMIT", 0, limit)
  if #old == 0 then return 0 end
  load(old)
  for _, m in ipairs(old) do remove(m) end
  flush()
  call("HDEL", ROWS, unpack(old))
  return #old
end

local function bury_owners()
  local silent = call("ZRANGE", base .. "owners", "-inf", now, "BYSCORE", "LIMIT", 0, limit)
  for _, each in ipairs(silent) do forget_owner(each) end
  if #silent > 0 then serve_anew() end
end

-- How many that live serve one of these queues.
local function sharing(queues)
  local wanted, count = {}, 0
  for _, queue in ipairs(queues or {}) do wanted[queue] = true end
  local serves = call("HGETALL", base .. "serves")
  for i = 1, #serves, 2 do
    for _, queue in ipairs(unpacked(serves[i + 1])) do
      if not queues or queue == EVERY_QUEUE or wanted[queue] then
        count = count + 1
        break
      end
    end
  end
  return count
end

bury_owners()
if p[6] then keep_alive(owner, p[7]) end
recover_all(leases_lost(), recovered)
local answered = answer_rows(recovered)
local removed = forget_old()
local standing = call("ZRANGE", base .. "revoked", "-inf", now, "BYSCORE", "LIMIT", 0, limit)
if #standing > 0 then call("ZREM", base .. "revoked", unpack(standing)) end
return "\\148" .. answered .. pack(removed) .. pack(forget_recurrences(limit)) .. pack(sharing(p[8]))
`;
