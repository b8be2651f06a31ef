"""Makes the emulator do what AWS does, where what it does instead would hide a fault of ours."""

import contextvars
import dataclasses
import json
import pathlib
import re
import sys
import threading

from ministack.core import iam_actions, iam_evaluator, lambda_runtime, node_pool
from ministack.services import cloudfront, cloudfront_keyvaluestore, lambda_svc, s3
from ministack.services import stepfunctions as sf

PROCESSES_PER_FUNCTION = 8


def apply():
    judge_parameters_by_the_first()
    let_wildcards_match_newlines()
    hold_denials_against_root()
    tell_preconditions_to_policies()
    evaluate_jsonata_in_distributed_maps()
    offer_redrive()
    name_roles_rather_than_sessions()
    queue_for_functions()
    name_throttling()
    log_as_asked()
    give_functions_of_cloudfront_their_stores()
    ask_s3_as_cloudfront_does()


def judge_parameters_by_the_first():
    """The policy of a role is asked for each parameter; the emulator asks for all of them at once."""
    resource_of = iam_actions.extract_resource_arn

    def named(service, method, path, headers, body, *others):
        if headers.get("x-amz-target") == "AmazonSSM.GetParameters":
            body = json.dumps({"Name": json.loads(body)["Names"][0]}).encode()
        return resource_of(service, method, path, headers, body, *others)

    iam_actions.extract_resource_arn = named


def let_wildcards_match_newlines():
    """A wildcard of a policy stands for any characters; with the emulator, no role may read a key with a newline."""
    compile_pattern = iam_evaluator._fnmatch_compile

    def compile_for_any(pattern, ignore_case):
        compiled = compile_pattern(pattern, ignore_case)
        return re.compile(compiled.pattern, compiled.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_for_any


def hold_denials_against_root():
    """A policy's denial holds for the account's root user too; the emulator lets it do anything."""
    resolve = iam_evaluator.resolve_principal
    anything = iam_evaluator.ParsedStatement(sid="", effect="Allow", actions=["*"], resources=["*"])

    def resolved(*arguments):
        principal = resolve(*arguments)
        if isinstance(principal, iam_evaluator.PrincipalInfo) and principal.policies is None:
            return dataclasses.replace(principal, policies=[[anything]])
        return principal

    iam_evaluator.resolve_principal = resolved


def name_roles_rather_than_sessions():
    """For a session of a role, aws:PrincipalArn is the ARN of the role; with the emulator, it is that of the session.

    The path of the role is not known here.
    """
    resolve = iam_evaluator._resolve_condition_key
    session = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+")

    def resolved(key, context):
        value = resolve(key, context)
        found = session.fullmatch(value) if key.lower() == "aws:principalarn" and value else None
        return "arn:{}:iam::{}:role/{}".format(*found.groups()) if found else value

    iam_evaluator._resolve_condition_key = resolved


def tell_preconditions_to_policies():
    """Policies can ask for s3:if-match, s3:if-none-match and s3:ObjectCreationOperation.

    The emulator does not know these keys.

    With AWS, a deletion of many objects at once can have a precondition for each; here they count as without any.
    """
    context_of = iam_actions.s3_service_context
    preconditions = {"s3:PutObject": ("if-match", "if-none-match"), "s3:DeleteObject": ("if-match",)}

    def context_with_preconditions(action, query, path="", headers=None):
        context = context_of(action, query, path, headers)
        # The request that begins a multipart upload, and those for its parts, take no
        # preconditions.
        is_a_part = query and ("uploads" in query or "partNumber" in query)
        if action == "s3:PutObject":
            context = context | {"s3:ObjectCreationOperation": "false" if is_a_part else "true"}
        if is_a_part:
            return context
        given = {f"s3:{name}": headers[name] for name in preconditions.get(action, ()) if name in headers}
        return context | given

    iam_actions.s3_service_context = context_with_preconditions


def queue_for_functions():
    """Each invocation has a processor of its own on AWS; here hundreds of processes would share a few."""
    run = lambda_svc._execute_function_provided_warm
    queues, guard = {}, threading.Lock()

    def queued(function, event, request_id):
        name = function.get("config", function)["FunctionName"]
        with guard:
            queue = queues.setdefault(name, threading.BoundedSemaphore(PROCESSES_PER_FUNCTION))
        with queue:
            return run(function, event, request_id)

    lambda_svc._execute_function_provided_warm = queued


def name_throttling():
    """A function that may not run now fails a task with an error that has a name; the emulator says "unknown"."""
    respond = lambda_svc._throttle_response

    def named(*arguments, **others):
        response = respond(*arguments, **others)
        response["body"]["errorType"] = "Lambda.TooManyRequestsException"
        return response

    lambda_svc._throttle_response = named


def log_as_asked():
    """Lambda tells a function how to log; the emulator does not. What it logs goes to the emulator's log, too."""
    environment = lambda_svc._provided_worker_env

    def with_logging(config, code_dir, port):
        asked = config.get("LoggingConfig") or {}
        logging = {
            "AWS_LAMBDA_LOG_FORMAT": asked.get("LogFormat", "Text"),
            "AWS_LAMBDA_LOG_LEVEL": asked.get("ApplicationLogLevel", "INFO"),
        }
        return environment(config, code_dir, port) | logging

    lambda_svc._provided_worker_env = with_logging

    pump = lambda_runtime.ProvidedWorker._pump_output

    def pump_and_copy(worker, stream, log_queue):
        return pump(worker, Copied(stream), log_queue)

    lambda_runtime.ProvidedWorker._pump_output = pump_and_copy


class Copied:
    """A stream whose lines go to standard error, too, each at once."""

    def __init__(self, stream):
        self.stream = stream

    def readline(self):
        line = self.stream.readline()
        sys.stderr.buffer.raw.write(line)
        return line


class Selector(dict):
    """An ItemSelector in JSONata, with the input of its Map state."""

    def __init__(self, template, map_input):
        super().__init__(is_not_empty=True)
        self.template, self.map_input = template, map_input


def give_functions_of_cloudfront_their_stores():
    """The emulator runs them by Node without the module `cloudfront`, through which they read key-value stores."""
    node_pool._NODE_BINARY = str(pathlib.Path(sys.executable).with_name("node"))
    code_of = cloudfront.live_function_code

    def code_with_store(arn):
        code = code_of(arn)
        function = cloudfront._functions.get(arn.rsplit("/", 1)[-1])
        if code is None or not function["kvs_arns"]:
            return code
        store, _ = cloudfront_keyvaluestore._get_store(function["kvs_arns"][0])
        get = f"async (key) => {{ if (!(key in stored)) throw new Error('KeyNotFound'); return stored[key]; }}"
        module = f"const stored = {json.dumps(store['items'])}; const cf = {{ kvs: () => ({{ get: {get} }}) }};"
        return code.replace(b"import cf from 'cloudfront';", module.encode())

    cloudfront.live_function_code = code_with_store


def ask_s3_as_cloudfront_does():
    """S3 reads a raw `+` as a space, whoever asks, and says 404 to those who may list the bucket."""
    key_of, fetch = cloudfront._s3_object_key, s3.serve_cloudfront_origin_fetch

    def key_of_path(origin, uri):
        return key_of(origin, uri.replace("+", " "))

    def fetch_or_miss(bucket, key, method, headers, source_arn="", oai_id=""):
        if key not in s3._buckets.get(bucket, {}).get("objects", {}) and may_list(bucket, source_arn):
            return s3._error("NoSuchKey", "The specified key does not exist.", 404, f"/{bucket}/{key}")
        return fetch(bucket, key, method, headers, source_arn, oai_id)

    cloudfront._s3_object_key, s3.serve_cloudfront_origin_fetch = key_of_path, fetch_or_miss


def may_list(bucket, distribution):
    """Whether the policy of a bucket lets a distribution list it."""
    policy = json.loads(s3._bucket_policies.get(bucket) or "{}")
    return any(
        statement["Effect"] == "Allow"
        and statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        and statement["Action"] == "s3:ListBucket"
        and statement["Condition"]["StringEquals"]["aws:SourceArn"] == distribution
        for statement in policy.get("Statement", [])
    )


def evaluate_jsonata_in_distributed_maps():
    """The emulator takes their expressions for plain text, and ignores their Output and ResultWriter."""
    resolve, run = sf._resolve_params_obj, sf._run_distributed_map

    def resolve_selector(template, data, context=None):
        if isinstance(template, Selector):
            return sf._apply_jsonata_template(template.template, template.map_input, context)
        return resolve(template, data, context)

    def run_map(state, map_input, effective, iterator, execution, context):
        if sf._state_query_language(state, context) != "JSONata":
            return run(state, map_input, effective, iterator, execution, context)
        plain = {name: value for name, value in state.items() if name not in ("Output", "Items")}
        for field in ("MaxConcurrency", "ToleratedFailurePercentage", "ItemReader", "ResultWriter"):
            if field in plain:
                plain[field] = sf._apply_jsonata_template(plain[field], map_input, context)
        if "Items" in state:
            effective = sf._apply_jsonata_template(state["Items"], map_input, context)
        if "ItemSelector" in plain:
            plain["ItemSelector"] = Selector(plain["ItemSelector"], map_input)
        result, following = run(plain, map_input, effective, iterator, execution, context)
        if "ResultWriter" in plain:
            result = write_results(plain["ResultWriter"]["Arguments"], execution["executionArn"])
        output = sf._apply_jsonata_output(state, map_input, context, result=result, default=result)
        return output, following

    sf._resolve_params_obj, sf._run_distributed_map = resolve_selector, run_map


def write_results(where, execution_arn):
    """Writes what became of the executions of a distributed map: here of those that failed."""
    runs = [run for run in list(sf._map_runs.values()) if run["executionArn"] == execution_arn]
    map_run = runs[-1]["mapRunArn"]
    children = [child for child in list(sf._executions.values()) if child.get("mapRunArn") == map_run]
    names = {"ExecutionArn": "executionArn", "Input": "input", "Name": "name", "Status": "status", "Error": "error"}
    failed = [
        {name: child.get(ours) for name, ours in names.items()} for child in children if child["status"] == "FAILED"
    ]
    bucket, prefix = where["Bucket"], f"{where['Prefix']}/{map_run.rsplit(':', 1)[-1]}"
    files = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    if failed:
        body = json.dumps(failed).encode()
        s3._put_object(bucket, f"{prefix}/FAILED_0.json", body, {})
        files["FAILED"].append({"Key": f"{prefix}/FAILED_0.json", "Size": len(body)})
    manifest = {"DestinationBucket": bucket, "MapRunArn": map_run, "ResultFiles": files}
    s3._put_object(bucket, f"{prefix}/manifest.json", json.dumps(manifest).encode(), {})
    details = {"Bucket": bucket, "Key": f"{prefix}/manifest.json"}
    return {"MapRunArn": map_run, "ResultWriterDetails": details}


def offer_redrive():
    """The emulator does not know RedriveExecution: it continues with the state that failed."""
    handle, describe = sf.handle_request, sf._describe_execution

    async def handle_request(method, path, headers, body, query):
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return sf._finalize_response(redrive(json.loads(body)["executionArn"]))
        return await handle(method, path, headers, body, query)

    def describe_execution(data):
        answer = describe(data)
        execution = sf._executions.get(data.get("executionArn"))
        if execution is None:
            return answer
        may_be = "REDRIVABLE" if execution["status"] == "FAILED" else "NOT_REDRIVABLE"
        count = execution.get("redriveCount", 0)
        return sf.json_response({**json.loads(answer[2]), "redriveCount": count, "redriveStatus": may_be})

    sf.handle_request, sf._describe_execution = handle_request, describe_execution


def redrive(arn):
    execution = sf._executions.get(arn)
    if execution is None:
        return sf.error_response_json("ExecutionDoesNotExist", f"there is no execution {arn}", 400)
    if execution["status"] != "FAILED":
        return sf.error_response_json("ExecutionNotRedrivable", f"it is {execution['status']}", 400)
    entered = [event for event in execution["events"] if event["type"].endswith("StateEntered")]
    failed = entered[-1]["stateEnteredEventDetails"]
    execution.pop("error", None)
    execution.pop("cause", None)
    count = execution.get("redriveCount", 0) + 1
    execution.update(status="RUNNING", stopDate=None, output=None, redriveCount=count)
    details = {"executionRedrivenEventDetails": {"redriveCount": count}}
    sf._add_event(execution, "ExecutionRedriven", details)
    sf._emit_execution_status_event(execution)
    arguments = (resume, execution, failed["name"], json.loads(failed["input"]))
    threading.Thread(target=contextvars.copy_context().run, args=arguments, daemon=True).start()
    return sf.json_response({"redriveDate": sf.now_iso()})


def resume(execution, name, value):
    try:
        value = run_from(execution, name, value)
    except sf._ExecutionError as error:
        sf._fail_execution(execution, error.error, error.cause)
    except Exception as error:
        sf._fail_execution(execution, "States.Runtime", str(error))
    else:
        execution.update(status="SUCCEEDED", output=json.dumps(value), stopDate=sf.now_iso())
        details = {"executionSucceededEventDetails": {"output": execution["output"]}}
        sf._add_event(execution, "ExecutionSucceeded", details)
        sf._emit_execution_status_event(execution)


def run_from(execution, name, value):
    """Runs the states from `name` on, whose entry is in the history already."""
    machine = sf._state_machines[execution["stateMachineArn"]]
    definition = json.loads(machine["definition"])
    context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "variables": {},
        "Execution": {
            "Id": execution["executionArn"],
            "Input": json.loads(execution["input"]),
            "Name": execution["name"],
            "StartTime": execution["startDate"],
            "RedriveCount": execution["redriveCount"],
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
    }
    is_entered = True
    while name:
        state = definition["States"][name]
        kind = state["Type"]
        context["State"] = {"Name": name, "EnteredTime": sf.now_iso(), "RetryCount": 0}
        if not is_entered:
            details = {"stateEnteredEventDetails": {"name": name, "input": json.dumps(value)}}
            sf._add_event(execution, f"{kind}StateEntered", details)
        is_entered = False
        value, following = run_state(kind, state, value, execution, context)
        details = {"stateExitedEventDetails": {"name": name, "output": json.dumps(value)}}
        sf._add_event(execution, f"{kind}StateExited", details)
        name = following
    return value


def run_state(kind, state, value, execution, context):
    if kind == "Fail":
        raise sf._ExecutionError(*sf._fail_state_error(state, value, context))
    if kind == "Succeed":
        return value, None
    run = getattr(sf, f"_execute_{kind.lower()}")
    if kind in ("Task", "Parallel", "Map"):
        return run(state, value, execution, context)
    return run(state, value, context)
