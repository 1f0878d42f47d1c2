"""Adapts a template to an emulated account (`ministack`), with no other change; `difference` shows the changes.

The emulator makes no routes from `AWS::Serverless::HttpApi`, has no alarms over expressions, and accepts only texts in a function's
environment. It has one address, so the API's URL differs.
"""

import copy
import os
import sys

from template import APPLICATION, DATA, functions, load


def overlay(template):
    """The template for the emulator. The given template does not change."""
    changed = copy.deepcopy(template)
    resources = changed["Resources"]
    routes = {}
    for name, function in functions(changed).items():
        environment = function["Properties"].get("Environment", {}).get("Variables", {})
        for variable, value in environment.items():
            if isinstance(value, (int, float)):
                environment[variable] = str(value)
        events = function["Properties"].get("Events", {})
        for event, described in list(events.items()):
            if described["Type"] == "HttpApi":
                properties = events.pop(event)["Properties"]
                key = f"{properties['Method']} {properties['Path']}" if "Path" in properties else "$default"
                routes[f"{name}{event}"] = (name, key)
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            del resources[name]
        if resource["Type"] == "AWS::Serverless::HttpApi":
            resources.update(http_api(name, resource["Properties"], routes))
            port = os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1]
            changed["Outputs"]["ApiUrl"]["Value"] = {"Fn::Sub": f"http://127.0.0.1:{port}/_aws/execute-api/${{{name}}}"}
    return changed


def http_api(name, properties, routes):
    """The API as separate resources: SAM writes the routes into one document, which the emulator does not read."""
    cors = properties["CorsConfiguration"]
    made = {
        name: {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "stampede", "ProtocolType": "HTTP", "CorsConfiguration": cors}},
        f"{name}Stage": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {"ApiId": {"Ref": name}, "StageName": "$default", "AutoDeploy": True},
        },
    }
    for function in {function for function, _ in routes.values()}:
        target = f"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{function}Aliaslive}}/invocations"
        made[f"{function}Integration"] = {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": name},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::Sub": target},
                "PayloadFormatVersion": "2.0",
            },
        }
    for route, (function, key) in routes.items():
        target = {"Fn::Sub": f"integrations/${{{function}Integration}}"}
        made[f"{route}Route"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": {"ApiId": {"Ref": name}, "RouteKey": key, "Target": target}}
    return made


def difference(before, after, path=""):
    """The places where two templates differ, each with the new value."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            place = f"{path}.{key}" if path else key
            if key not in after:
                yield place, "removed"
            elif key not in before:
                yield place, "added"
            else:
                yield from difference(before[key], after[key], place)
    elif before != after:
        yield path, "changed"


def allowed(place, change, before):
    """Whether the overlay may make a change. `before` is the template that it changes."""
    parts = place.split(".")
    resources = before["Resources"]
    if parts[0] == "Outputs":
        return place == "Outputs.ApiUrl.Value.Fn::Sub"
    resource = resources.get(parts[1]) if parts[0] == "Resources" else None
    if resource is None:
        return parts[0] == "Resources" and change == "added" and len(parts) == 2
    match resource["Type"]:
        case "AWS::CloudWatch::Alarm":
            return change == "removed" and len(parts) == 2 and "Metrics" in resource["Properties"]
        case "AWS::Serverless::HttpApi":
            return True
        case "AWS::Serverless::Function":
            event = change == "removed" and parts[2:4] == ["Properties", "Events"] and len(parts) == 5
            number = change == "changed" and parts[2:5] == ["Properties", "Environment", "Variables"]
            return number or (event and resource["Properties"]["Events"][parts[4]]["Type"] == "HttpApi")
    return False


def main():
    """Prints the overlay's changes; exit code 1 if there is a change that it may not make."""
    os.environ.setdefault("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    refused = 0
    for path in (APPLICATION, DATA):
        before = load(path)
        for place, change in difference(before, overlay(before)):
            fine = allowed(place, change, before)
            refused += not fine
            print(f"{path.name}: {change:8} {place}{'' if fine else '   which the overlay may not do'}")
    # The check itself must be able to fail.
    before = load(APPLICATION)
    after = overlay(before)
    after["Resources"]["StockTable"]["Properties"]["BillingMode"] = "PROVISIONED"
    after["Resources"]["ReserveFunction"]["Properties"].pop("Role")
    caught = [place for place, change in difference(before, after) if not allowed(place, change, before)]
    assert len(caught) == 2, caught
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
