# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC3043,SC2154
#
# Turns /etc/config/tandem into a configuration of Tandem, on standard output.
# Needs config_get and its kin of /lib/functions.sh, and network_get_device of
# /lib/functions/network.sh.

# tandem_quote prints a text as a string of YAML.
tandem_quote() {
	printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"
}

tandem_append() {
	tandem_items="${tandem_items:+$tandem_items, }$(tandem_quote "$1")"
}

tandem_append_number() {
	tandem_items="${tandem_items:+$tandem_items, }$1"
}

tandem_append_device() {
	local device
	if network_get_device device "$1"; then
		tandem_append "$device"
	else
		logger -t tandem "network $1 has no device yet; it is left out" 2>/dev/null
	fi
}

# tandem_list SECTION OPTION INDENT KEY [APPEND]: a list of values.
tandem_list() {
	tandem_items=
	config_list_foreach "$1" "$2" "${5:-tandem_append}"
	[ -z "$tandem_items" ] || echo "$3$4: [$tandem_items]"
}

# tandem_value SECTION OPTION INDENT KEY: a text.
tandem_value() {
	local value
	config_get value "$1" "$2"
	[ -z "$value" ] || echo "$3$4: $(tandem_quote "$value")"
}

# tandem_word: likewise, of what is no text in YAML: numbers, true and false.
tandem_word() {
	local value
	config_get value "$1" "$2"
	[ -z "$value" ] || echo "$3$4: $value"
}

tandem_listener() {
	local type
	config_get type "$1" type
	echo "  - name: $(tandem_quote "$1")"
	tandem_value "$1" type "    " type
	tandem_list "$1" listen "    " listen
	tandem_list "$1" allow_from "    " allow-from
	tandem_value "$1" mptcp "    " mptcp
	tandem_value "$1" upstream "    " upstream
	case $type in
	tproxy) tandem_tproxy "$1" ;;
	socks5) tandem_socks5 "$1" ;;
	esac
}

tandem_tproxy() {
	local quic
	echo "    tproxy:"
	tandem_list "$1" network "      " interfaces tandem_append_device
	tandem_list "$1" source "      " sources
	tandem_list "$1" port "      " ports tandem_append_number
	config_get_bool quic "$1" reject_quic 0
	[ "$quic" -eq 0 ] || echo "      reject-quic: true"
}

tandem_socks5() {
	local user hash
	config_get user "$1" user
	config_get hash "$1" password_hash
	[ -n "$user" ] || return 0
	echo "    socks5:"
	echo "      users: [{name: $(tandem_quote "$user"), password-hash: $(tandem_quote "$hash")}]"
}

tandem_upstream() {
	local networks
	echo "  - name: $(tandem_quote "$1")"
	tandem_value "$1" type "    " type
	tandem_list "$1" server "    " servers
	tandem_value "$1" mptcp "    " mptcp
	tandem_value "$1" when_down "    " when-down
	config_get networks "$1" network
	[ -n "$networks" ] || return 0
	echo "    paths:"
	echo "      manager: fullmesh"
	tandem_list "$1" network "      " interfaces tandem_append_device
	tandem_list "$1" backup_network "      " backup-interfaces tandem_append_device
}

tandem_configuration() {
	local level connections
	config_load tandem
	config_get level main log_level info
	echo "log: {level: $level}"
	config_get connections main connections
	[ -z "$connections" ] || echo "limits: {connections: $connections}"
	echo "listeners:"
	config_foreach tandem_listener listener
	tandem_upstreams=$(config_foreach tandem_upstream upstream)
	[ -z "$tandem_upstreams" ] || printf 'upstreams:\n%s\n' "$tandem_upstreams"
}
