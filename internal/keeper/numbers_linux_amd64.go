package keeper

const sysGetrandom = 318
