package notify

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestWhatProgramsSayIsRead(t *testing.T) {
	for text, want := range map[string]Message{
		"READY=1":                                {Ready: true},
		"READY=1\x00":                            {Ready: true},
		"READY=1\nSTATUS=Serving\n":              {Ready: true, HasStatus: true, Status: "Serving"},
		"STATUS=":                                {HasStatus: true},
		"STATUS=a=b":                             {HasStatus: true, Status: "a=b"},
		"STATUS=first\nSTATUS=second":            {HasStatus: true, Status: "first"},
		"STATUS=\x1b[31mred\x7f\xff\u202e!":      {HasStatus: true, Status: "[31mred \ufffd !"},
		"STOPPING=1":                             {Stopping: true},
		"RELOADING=1\nMONOTONIC_USEC=1500":       {Reloading: true, Monotonic: 1500 * time.Microsecond},
		"MAINPID=4711":                           {MainPid: 4711},
		"MAINPID=4711\nMAINPIDFDID=99":           {MainPid: 4711, MainPidfdID: 99},
		"MAINPIDFD=1":                            {MainPidfd: true},
		"WATCHDOG=1":                             {KeepAlive: true},
		"WATCHDOG=trigger":                       {Trigger: true},
		"WATCHDOG_USEC=3000000":                  {Watchdog: 3 * time.Second},
		"EXTEND_TIMEOUT_USEC=20000000":           {Extend: 20 * time.Second},
		"FDSTORE=1":                              {Store: true},
		"FDSTORE=1\nFDNAME=listen\nFDPOLL=0":     {Store: true, FDName: "listen", NoPoll: true},
		"FDSTOREREMOVE=1\nFDNAME=listen":         {Remove: true, FDName: "listen"},
		"FDNAME=listen":                          {},
		"BARRIER=1":                              {Barrier: true},
		"ERRNO=2\nBUSERROR=org.x.Failed":         {Errno: 2, BusError: "org.x.Failed"},
		"EXIT_STATUS=0":                          {ExitStatus: 1},
		"EXIT_STATUS=255":                        {ExitStatus: 256},
		"":                                       {},
		"\n\n":                                   {},
		"READY":                                  {},
		"READY=0":                                {},
		"READY=yes":                              {},
		"ready=1":                                {},
		" READY=1":                               {},
		"X_VENDOR=anything\nREADY=1":             {Ready: true},
		"NOTIFYACCESS=all\nINVOCATION_ID=abcdef": {},
		"WATCHDOG=2":                             {},
	} {
		got, err := Parse([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestADatagramWithALineThatCannotBeReadSaysNothing(t *testing.T) {
	for text, want := range map[string]string{
		"READY=1\nMAINPID=":                                   "MAINPID",
		"READY=1\nMAINPID=0":                                  "MAINPID",
		"READY=1\nMAINPID=-1":                                 "MAINPID",
		"READY=1\nMAINPID=+7":                                 "MAINPID",
		"READY=1\nMAINPID=2147483648":                         "MAINPID",
		"READY=1\nMAINPIDFDID=x":                              "MAINPIDFDID",
		"READY=1\nERRNO=4096":                                 "ERRNO",
		"READY=1\nEXIT_STATUS=256":                            "EXIT_STATUS",
		"READY=1\nWATCHDOG_USEC=0":                            "WATCHDOG_USEC",
		"READY=1\nWATCHDOG_USEC=99999999999999999999":         "WATCHDOG_USEC",
		"READY=1\nEXTEND_TIMEOUT_USEC=1s":                     "EXTEND_TIMEOUT_USEC",
		"READY=1\nMONOTONIC_USEC= 1":                          "MONOTONIC_USEC",
		"READY=1\nFDSTORE=1\nFDNAME=a:b":                      "FDNAME",
		"READY=1\nFDSTORE=1\nFDNAME=":                         "FDNAME",
		"READY=1\nFDSTORE=1\nFDNAME=ä":                        "FDNAME",
		"READY=1\nFDNAME=" + strings.Repeat("n", 256):         "FDNAME",
		"READY=1\nFDSTOREREMOVE=1":                            "FDNAME",
		"READY=1\x00\nSTATUS=x":                               "NUL",
		"READY=1\nSTATUS=" + strings.Repeat("x", MaxDatagram): "too long",
	} {
		m, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("%.60q is read as %+v, %v; it should be refused for %s", text, m, err, want)
		}
	}
}

func TestTheLongestDatagramIsRead(t *testing.T) {
	text := "STATUS=" + strings.Repeat("x", MaxDatagram-len("STATUS="))
	if m, err := Parse([]byte(text)); err != nil || len(m.Status) != MaxDatagram-len("STATUS=") {
		t.Errorf("%d bytes of status, %v", len(m.Status), err)
	}
}

// FuzzParse: whatever comes, nothing panics, what is refused says nothing, and what
// is read can be shown and handed on.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "READY=1", "STATUS=\xff\x00", "MAINPID=1\nMAINPIDFDID=2", "FDSTORE=1\nFDNAME=x\nFDPOLL=0", "FDSTOREREMOVE=1\nFDNAME=x",
		"WATCHDOG=trigger\nWATCHDOG_USEC=1", "EXTEND_TIMEOUT_USEC=9223372036854775", "RELOADING=1\nMONOTONIC_USEC=1", "BARRIER=1",
		"ERRNO=1\nBUSERROR=x\nEXIT_STATUS=1", "=", "==\n=", strings.Repeat("READY=1\n", 600),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if !reflect.DeepEqual(m, Message{}) {
				t.Errorf("refused and says %+v", m)
			}
			if !utf8.ValidString(err.Error()) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("error %q", err)
			}
			return
		}
		for _, text := range []string{m.Status, m.BusError} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("text %q", text)
			}
		}
		if m.FDName != "" && !goodName(m.FDName) || m.Remove && m.FDName == "" {
			t.Errorf("name %q", m.FDName)
		}
		if m.MainPid < 0 || m.Watchdog < 0 || m.Extend < 0 || m.Monotonic < 0 || m.ExitStatus < 0 || m.ExitStatus > 256 || m.Errno < 0 {
			t.Errorf("numbers %+v", m)
		}
	})
}
