package raw

const sysMemfdCreate = 319
