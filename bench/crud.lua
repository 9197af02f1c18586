-- Create rows with one body, or read rows by ids in no order: create|read, then a body or how many rows there are.
local create = false
local rows = 1

function init(args)
    create = args[1] == "create"
    wrk.headers["Authorization"] = args[3]
    if create then
        wrk.method = "POST"
        wrk.body = args[2]
        wrk.headers["Content-Type"] = "application/json"
    else
        rows = tonumber(args[2])
    end
    math.randomseed(os.time())
end

function request()
    if create then return wrk.format() end
    return wrk.format("GET", wrk.path .. "/" .. math.random(rows))
end
