#!/bin/sh
# Builds kube-proxy and kube-apiserver from Debian's source package of Kubernetes.
# usage: build.sh GO SOURCE REFLECT2 VERSION OUTPUT
#   GO        root of the Go distribution (1.19)
#   SOURCE    the unpacked source package, in a GOPATH: …/src/k8s.io/kubernetes
#   REFLECT2  a copy of github.com/modern-go/reflect2 that knows Go 1.18 and later
#   VERSION   what the programs say they are, as v1.20.2
#   OUTPUT    directory for the programs
set -eu
go=$1 source=$2 reflect2=$3 version=$4 output=$5
cd "$source"
export PATH="$go/bin:$PATH" GOROOT="$go" GOPATH="${source%/src/k8s.io/kubernetes}" GO111MODULE=off CGO_ENABLED=0
export GOCACHE="$GOPATH/cache" GOFLAGS=-trimpath GOTOOLCHAIN=local

# The vendored reflect2 reads maps as Go 1.17 laid them out: the API server would crash.
rm -rf vendor/github.com/modern-go/reflect2
cp -rL "$reflect2" vendor/github.com/modern-go/reflect2

# The source package lacks the generated file that describes the API; its own generator makes it.
openapi=pkg/generated/openapi
go build -p 2 -o "$GOPATH/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd staging/src/k8s.io |
    grep -v -e /code-generator/ -e /sample-apiserver/ -e _test.go |
    xargs -n1 dirname | sort -u |
    sed -e 's,^staging/src/,vendor/,' -e 's,^,k8s.io/kubernetes/,' | paste -sd,)
"$GOPATH/openapi-gen" --logtostderr -i "$packages" -p "k8s.io/kubernetes/$openapi" \
    -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    -r "$GOPATH/violations"

name=k8s.io/kubernetes/vendor/k8s.io/component-base/version
flags="-s -w -X $name.gitVersion=$version -X $name.gitMajor=1 -X $name.gitMinor=20"
for program in kube-proxy kube-apiserver; do
    go build -p 2 -ldflags "$flags" -o "$output/$program.new" "./cmd/$program"
    mv "$output/$program.new" "$output/$program"
done
