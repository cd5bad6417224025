#!/bin/sh
# Makes the secrets that are not there yet, in the namespace.
# Made by `moee infra render`: change the values, not this file.
# Needs kubectl and openssl. Tokens go through pipes: no command line holds one. What is there is left as it is.
# The object storage's keys come from this shell's environment:
#   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… sh secrets.sh
set -eu

namespace='moee'
storage_secret='moee-environment'

# Is the secret $1 there already?
present() {
  found=$(kubectl get secret "$1" --namespace "$namespace" --ignore-not-found --output name)
  if [ -n "$found" ]; then echo "$1 is there already"; else return 1; fi
}

# A secret $1 of the lines KEY=VALUE on standard input.
make() {
  kubectl create secret generic "$1" --namespace "$namespace" --from-env-file=/dev/stdin
}

# Of Ray: whoever holds it may run anything on the clusters.
if ! present 'moee-ray-token'; then
  printf 'auth_token=%s\n' "$(openssl rand -hex 32)" | make 'moee-ray-token'
fi

# Of the service: pods get the hash only.
if ! present 'moee-serve'; then
  token=$(openssl rand -hex 32)
  hash=$(printf '%s' "$token" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
  printf 'token=%s\nMOEE_SERVE_TOKEN_HASH=%s\n' "$token" "$hash" | make 'moee-serve'
  echo "clients bring the token: kubectl get secret moee-serve --namespace $namespace --output jsonpath='{.data.token}' | base64 -d"
fi

if [ -n "$storage_secret" ] && ! present "$storage_secret"; then
  variables=$(env | grep -E '^(AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|REGION|DEFAULT_REGION|ENDPOINT_URL)|AZURE_STORAGE_[A-Z_]+|HF_TOKEN)=' || true)
  if [ -z "$variables" ]; then
    echo "error: no keys of an object storage in the environment; or set environment_secret to null, and use a role" >&2
    exit 1
  fi
  printf '%s\n' "$variables" | make "$storage_secret"
fi
