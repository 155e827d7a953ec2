"""Adds an item to a cart: a function on AWS Lambda, as such functions are written."""

import json
import os
import sys

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def handler(event, context):
    key = {"pk": event["user"], "sk": "cart"}
    cart = table.get_item(Key=key, ConsistentRead=True).get("Item", {**key, "items": []})
    cart["items"].append(event["item"])
    table.put_item(Item=cart)  # over whatever another instance has written since
    return cart["items"]


if __name__ == "__main__":
    print(json.dumps(handler(json.loads(sys.argv[1]), None)))
