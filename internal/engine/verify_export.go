package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/verify"
)

// export checks the records of a run as log export wrote them.
func (v *verifying) export(p verify.Pack) error {
	v.out.Kind = "records"
	if len(v.opts.Keys) > 0 {
		return &hintError{errors.New("an export of records is signed by no attestation key: the log's key signs its checkpoint"), "--log-key log.vkey; if this was an evidence pack, its manifest is missing"}
	}
	if v.trust.Log == "" {
		named := strings.TrimSuffix(string(p[verify.LogKeyFile]), "\n")
		if v.trustOwnLog(func(key string) bool { return key == named }); v.trust.Log == "" {
			return &hintError{errors.New("no key to check the records with: one that came with them would prove nothing"), "--log-key log.vkey, as `carrel identity export` wrote it where the log is"}
		}
		v.own = true
	}
	r, err := p.CheckExport(v.trust.Log)
	if err != nil {
		return v.otherKey(err)
	}
	v.out.LogKey, v.out.Trusted = v.trust.Log, true
	v.out.Proved = append(v.out.Proved, fmt.Sprintf("%d records of run %s are in log %s, which had %d records when its key signed", r.Records, r.Run, r.Checkpoint.Origin, r.Checkpoint.Size))
	if r.Incomplete == "" {
		v.out.Proved = append(v.out.Proved, "none of the run's own records is missing: they are numbered without a hole from its start to its end")
	} else {
		v.out.Missing = append(v.out.Missing, "that the records of the run are all there: "+r.Incomplete)
	}
	v.out.Missing = append(v.out.Missing, "what others recorded about the run after it had ended, beyond what is here",
		"that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
	if err := v.cosigned(p[verify.PackCheckpoint], v.trust.Log); err != nil {
		return err
	}
	return v.judge(nil, nil)
}
