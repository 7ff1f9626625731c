package model

import (
	"strconv"
	"strings"
)

// errText is a reason that stands behind a colon.
type errText string

func (e errText) Error() string { return string(e) }

// checkAddress takes HOST:PORT, an IPv6 host in brackets.
func checkAddress(text string) error {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		if _, err := strconv.ParseUint(text, 10, 16); err == nil {
			return errText("a host is missing, as in \"127.0.0.1:" + text + "\"")
		}
		return errText("a port is missing, as in \"127.0.0.1:5432\"")
	}
	host, port := text[:i], text[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errText("a port is a number from 1 to 65535")
	}
	return checkHost(host)
}

func checkHost(host string) error {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed || !strings.Contains(inner, ":") {
			return errText("the brackets do not hold an IPv6 address")
		}
	}
	switch {
	case inner == "":
		return errText("a host is missing, as in 127.0.0.1")
	case !bracketed && strings.Contains(inner, ":"):
		return errText("an IPv6 address stands in brackets, as in \"[::1]:80\"")
	}
	for i := 0; i < len(inner); i++ {
		if c := inner[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`/?#@[]"<>\`, c) >= 0 {
			return errText("the host holds a character that no host has")
		}
	}
	return nil
}

// checkURL takes an http or https address with a host. A name and password in it
// are refused: whoever may see the definition would see them.
func checkURL(text string) error {
	rest, secure := strings.CutPrefix(text, "https://")
	if !secure {
		var plain bool
		if rest, plain = strings.CutPrefix(text, "http://"); !plain {
			return errText("it does not begin with http:// or https://")
		}
	}
	for i := 0; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c == 0x7f {
			return errText("it holds a space or control character; write %20")
		}
	}
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	authority, _, _ = strings.Cut(authority, "#")
	if strings.Contains(authority, "@") {
		return errText("it holds a name and password that all could read")
	}
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		return checkAddress(authority)
	}
	return checkHost(authority)
}

// checkProbeURL takes a web address, or one of a server on a socket of this machine.
func checkProbeURL(text string) error {
	rest, local := strings.CutPrefix(text, "http+unix://")
	if !local {
		return checkURL(text)
	}
	socket, _, _ := strings.Cut(rest, "/")
	if !strings.HasPrefix(strings.ToUpper(socket), "%2F") || strings.ContainsAny(text, " \t\n\x00") {
		return errText("the path of a socket stands behind http+unix:// with %2F for each /")
	}
	return nil
}

// MaskURL is an address without what may be a secret: only its host is left.
func MaskURL(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return "***"
	}
	i := strings.IndexAny(rest, "/?#")
	if i < 0 || rest[i:] == "/" {
		return url
	}
	return scheme + "://" + rest[:i] + "/***"
}

// checkKernel takes a comparison of the release with the first numbers of a
// version, or a pattern.
func checkKernel(text string) error {
	for _, op := range []string{"!=", "<=", ">=", "==", "<", ">", "="} {
		version, ok := strings.CutPrefix(text, op)
		if !ok {
			continue
		}
		for _, part := range strings.FieldsFunc(strings.TrimSpace(version)+" ", func(c rune) bool { return c == '.' || c == '-' }) {
			if _, err := strconv.ParseUint(strings.TrimSpace(part), 10, 32); err != nil {
				return errText("a version stands behind " + op + ", as in \">= 5.10\"")
			}
		}
		return nil
	}
	if strings.ContainsAny(text, " <>=") {
		return errText("write a comparison as \">= 5.10\", or a pattern as \"6.*\"")
	}
	return checkGlob(text)
}

// checkVariableCondition takes NAME, NAME=VALUE or !NAME.
func checkVariableCondition(text string) error {
	name, _, valued := strings.Cut(text, "=")
	if bare, negated := strings.CutPrefix(name, "!"); negated {
		if valued {
			return errText("! stands before a name alone")
		}
		name = bare
	}
	if !validVariable(name) {
		return errText("it takes \"NAME\", \"NAME=VALUE\" or \"!NAME\"")
	}
	return nil
}
