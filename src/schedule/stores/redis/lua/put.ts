/** Adding callbacks: keys, redelivered messages, revoked task ids, the limit. */

/** What became of one, beside "added", for which its number stands. */
export const PUT_CODES = ["existing", "replaced", "too_late", "conflict", "revoked"] as const;

const code = (name: (typeof PUT_CODES)[number]) => PUT_CODES.indexOf(name) + 1;

/** An item is {due, queue, key, on conflict, task id, retries, tags, the row as it is kept, its long body}. */
export const adding = `
local made
local new_keys, new_tasks = {}, {}

-- Numbers for so many rows; those that turn out to be none leave gaps.
local function reserve(count)
  if count > 0 then made = call("INCRBY", base .. "made", count) - count end
end

local function add(item)
  made = made + 1
  local m, due, queue, key, task_id = member(made), item[1], item[2], item[3], item[5]
  raw[m] = item[8] .. pack(now)
  if item[9] then bodies[m] = item[9] end
  index("due:" .. queue, m, due)
  earliest[queue] = math.min(earliest[queue] or due, due)
  for _, tag in ipairs(item[7]) do index("tag:" .. tag, m, due) end
  if key then
    index("keys", key .. NUL .. m, 0)
    new_keys[key] = m
  end
  if task_id then
    index("tasks", task_id .. NUL .. m, 0)
    new_tasks[task_id .. NUL .. item[6]] = m
  end
  return m
end

local function live_count()
  local live = call("HLEN", ROWS)
  for state = SUCCEEDED, SKIPPED do live = live - call("ZCARD", base .. "in:" .. state) end
  return live
end
`;

export const put = `
local KEEP_OLD, REPLACE, REJECT = 0, 1, 2
local max_pending, groups, items = p[3], p[4], p[5]

local function taken_over(task_id, retries)
  local function is_it(m)
    local r = m and get(m)
    return r and r[ARRIVED] == retries and r[TASK_ID] == task_id
  end
  local new = new_tasks[task_id .. NUL .. retries]
  if is_it(new) then return new end
  for _, m in ipairs(of_task(task_id)) do
    if is_it(m) then return m end
  end
end

local function live_of(key)
  local m = new_keys[key] or by_key(key)
  local r = m and get(m)
  if r and r[STATE] <= RUNNING then return m, r end
end

local function answer(code, m)
  local r = get(m)
  return {code, m, r[SALT], r[DUE]}
end

local function replace(m, r, item)
  local new = unpacked(item[8] .. pack(now))
  leave(m, r)
  index_due(m, r, false)
  if r[TASK_ID] then index("tasks", r[TASK_ID] .. NUL .. m, false) end
  for field = FLAGS, BODY do
    if field ~= KEY then r[field] = new[field] end
  end
  r[DUE], r[TOKEN] = item[1], r[TOKEN] + 1
  bodies[m] = item[9]
  index_due(m, r, r[DUE])
  if r[TASK_ID] then
    index("tasks", r[TASK_ID] .. NUL .. m, 0)
    new_tasks[r[TASK_ID] .. NUL .. r[ARRIVED]] = m
  end
  enter(m, r)
end

local function put_one(item)
  local key, conflict, task_id = item[3], item[4], item[5]
  if task_id then
    if is_revoked(task_id) then return {${code("revoked")}} end
    local earlier = taken_over(task_id, item[6])
    if earlier then return answer(${code("existing")}, earlier) end
  end
  if key then
    local m, r = live_of(key)
    if m then
      if conflict == REJECT then return answer(${code("conflict")}, m) end
      if conflict == KEEP_OLD then return answer(${code("existing")}, m) end
      if r[STATE] ~= SCHEDULED then return answer(${code("too_late")}, m) end
      replace(m, r, item)
      return answer(${code("replaced")}, m)
    end
  end
  return add(item)
end

-- How many rows these would make.
local function added_by(from, to)
  local keys, count = {}, 0
  for i = from, to do
    local key, task_id = items[i][3], items[i][5]
    local known = task_id and taken_over(task_id, items[i][6])
    if not known and key then
      known = keys[key] or live_of(key)
      keys[key] = true
    end
    if not known then count = count + 1 end
  end
  return count
end

local live
local function is_full(from, to)
  if max_pending == 0 then return false end
  live = live or live_count()
  return live + (to - from + 1) > max_pending and live + added_by(from, to) > max_pending
end

reserve(#items)
local answers, from = {}, 1
for g, size in ipairs(groups) do
  local to = from + size - 1
  if is_full(from, to) then
    answers[g] = false
  else
    local group = {}
    for i = from, to do
      local one = put_one(items[i])
      if live and type(one) == "string" then live = live + 1 end
      group[#group + 1] = one
    end
    answers[g] = group
  end
  from = to + 1
end
flush()
return pack(answers)
`;
