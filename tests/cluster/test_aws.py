"""`cluster.yaml` against AWS as moto plays it: what is made, what is let in, what is launched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.lab import ROOT

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")

REGION = "us-west-2"
MINE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}


@pytest.fixture
def ec2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty account whose keys are written below `tmp_path`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("HOME", str(tmp_path))
    with moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        from ray.autoscaler._private.aws import config, utils

        monkeypatch.setattr(config.time, "sleep", lambda seconds: None)  # half a minute for AWS to settle
        utils.resource_cache.cache_clear()
        yield boto3.client("ec2", region_name=REGION)
        utils.resource_cache.cache_clear()


def bootstrapped() -> dict[str, Any]:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    return AWSNodeProvider.bootstrap_config(config)


def own_group(ec2: Any) -> str:
    """The security group that docs/cluster.md makes: ssh from one address, everything among members."""
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = str(ec2.create_security_group(GroupName="bench", Description="bench", VpcId=vpc)["GroupId"])
    inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[MINE, inside])
    return group


def test_a_group_of_ones_own_is_left_as_it_is_and_spot_workers_start(ec2: Any) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    group = own_group(ec2)
    config = bootstrapped()
    types = config["available_node_types"]
    assert {kind["node_config"]["SecurityGroupIds"][0] for kind in types.values()} == {group}
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    addresses = [address["CidrIp"] for rule in rules for address in rule["IpRanges"]]
    assert addresses == ["198.51.100.7/32"]
    filled = AWSNodeProvider.fillout_available_node_types_resources(config)["available_node_types"]
    assert filled["gpu_spot"]["resources"]["GPU"] == 1  # read off the instance type
    assert filled["head"]["resources"]["CPU"] == 0
    assert all(len(kind["node_config"]["SubnetIds"]) == 3 for kind in types.values())  # one a zone, for spot capacity

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in ("gpu_spot", "gpu_on_demand"):
        provider.create_node(dict(types[name]["node_config"]), {"ray-user-node-type": name}, 1)
    launched = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    found = {tag["Value"]: i for i in launched for tag in i["Tags"] if tag["Key"] == "ray-user-node-type"}
    assert found["gpu_spot"]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in found["gpu_on_demand"]
    assert {i["InstanceType"] for i in launched} == {"g6.2xlarge"}


def test_the_group_ray_makes_lets_in_nothing_but_ssh(ec2: Any) -> None:
    config = bootstrapped()
    group = config["available_node_types"]["head"]["node_config"]["SecurityGroupIds"][0]
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert {rule["FromPort"] for rule in rules if rule["IpRanges"]} == {22}
    assert "IamInstanceProfile" in config["head_node"]  # the head may start workers
