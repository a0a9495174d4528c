#!/usr/bin/env bash
# Hosts on one machine: each a network, process, mount and host name of its own, joined by a bridge, with an sshd.
#
#   unshare --net --mount --pid --fork --mount-proc --kill-child lab.sh FOLDER NAME...
#
# Everything lives in the namespaces that the caller made: when its first process ends, hosts, bridge and all that ran
# on them are gone. FOLDER/NAME holds a host's home and Ray's files; FOLDER/NAME/pid, its first process.
set -euo pipefail

host() { # the life of one host, inside its namespaces
  local folder=$1 name=$2
  hostname "$name"
  sed "s|^root:.*|root:x:0:0:root:$folder/$name/home:/bin/bash|" /etc/passwd >"$folder/$name/passwd"
  mount --bind "$folder/$name/passwd" /etc/passwd
  mount --bind "$folder/$name/ray" /tmp/ray
  until ip address show eth0 2>/dev/null | grep -q 'inet '; do sleep 0.05; done
  /usr/sbin/sshd -D -E "$folder/$name/sshd.log" -f "$folder/sshd_config" &
  wait # as the first process, to collect what daemons leave behind
}

lan() { # the bridge, and a cable to each host
  local folder=$1 number=10 name pid
  shift
  mkdir -p /tmp/ray /run/sshd "$folder/laptop/ray"
  mount --bind "$folder/laptop/ray" /tmp/ray
  ip link set lo up
  ip link add lan type bridge
  ip address add 10.77.0.1/24 dev lan
  ip link set lan up
  for name in "$@"; do
    mkdir -p "$folder/$name/home" "$folder/$name/ray"
    unshare --net --mount --pid --uts --fork --mount-proc --kill-child bash "$0" --host "$folder" "$name" &
    until pid=$(tr -d ' ' <"/proc/$!/task/$!/children") && [ -n "$pid" ]; do sleep 0.05; done
    echo "$pid" >"$folder/$name/pid"
    ip link add "to-$name" type veth peer name eth0 netns "$pid"
    ip link set "to-$name" master lan up
    nsenter --net="/proc/$pid/ns/net" sh -c \
      "ip link set lo up; ip link set eth0 up; ip address add 10.77.0.$number/24 dev eth0
       ip route add default via 10.77.0.1" # Ray takes the address on the way to the world for its own
    number=$((number + 1))
  done
  touch "$folder/ready"
  wait
}

if [ "$1" = --host ]; then host "$2" "$3"; else lan "$@"; fi
