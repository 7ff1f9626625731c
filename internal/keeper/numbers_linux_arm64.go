package keeper

const sysGetrandom = 278
